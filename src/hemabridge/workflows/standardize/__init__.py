"""`hemabridge standardize`: re-stains a folder of images, with a log of the result for each file."""
