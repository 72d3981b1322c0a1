"""`hemabridge evaluate`: new cells classified as a study classifies its own."""
