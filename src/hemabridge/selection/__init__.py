"""Which state of a trained translator to use, and why; measured without labels."""
