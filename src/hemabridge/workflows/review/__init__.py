"""`hemabridge review`: blinded reading by experts."""
