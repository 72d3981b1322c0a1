"""`hemabridge export`: a model, or the run of `hemabridge adapt`, as one file that runs without PyTorch."""
