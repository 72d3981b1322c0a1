"""What a synthetic cell is worth believing: is it of its class, is it shaped like it, is it a copy. No PyTorch."""
