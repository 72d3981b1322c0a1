"""`hemabridge differential`: finds the leukocytes of fields, classifies and counts them, and serves a page to check."""
