"""The service of `hemabridge serve`: requests, their limits, and their answers over HTTP; needs no PyTorch."""
