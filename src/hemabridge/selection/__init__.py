"""Choice of the best snapshot of a trained translator, by measures that need no labels."""
