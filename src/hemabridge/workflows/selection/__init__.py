"""`hemabridge select`: chooses a snapshot of a run by measures that need no labels."""
