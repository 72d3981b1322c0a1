"""`hemabridge label`: an expert labels the cells that teach most; the members of a study's ensemble are fine-tuned."""
