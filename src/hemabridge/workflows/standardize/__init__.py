"""`hemabridge standardize`: a folder of images is re-stained, and a log tells what became of each file."""
