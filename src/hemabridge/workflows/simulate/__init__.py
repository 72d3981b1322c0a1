"""`hemabridge simulate`: the same cells or whole fields, as several hospitals would show them."""
