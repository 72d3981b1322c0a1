"""Which re-stained cells to trust: morphology before against after, a verdict for each cell, a fallback."""
