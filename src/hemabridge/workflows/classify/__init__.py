"""`hemabridge classify`: the classes of a folder of cells, and a check on those whose folders say their class."""
