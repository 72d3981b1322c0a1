"""`hemabridge find`: finds the leukocytes of a folder of fields, and cuts them out, with a row for each field."""
