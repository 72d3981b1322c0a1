"""How good a synthetic cell is: is it of its class, is it shaped like it, is it a copy. No PyTorch."""
