"""`hemabridge adapt` and `hemabridge run`: from two folders to the classes of another hospital's cells, every day."""
