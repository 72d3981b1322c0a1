"""Fields of a microscope: their scale in micrometers, and the leukocytes in them. No PyTorch."""
