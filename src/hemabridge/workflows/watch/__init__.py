"""`hemabridge watch`: a folder that fills up, with a gate before the output and an audit log."""
