"""`hemabridge synthesize`: Block 3 of the paper."""
