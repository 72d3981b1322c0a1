"""`hemabridge select`."""
