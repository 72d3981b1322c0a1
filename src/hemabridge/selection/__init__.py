"""Choice without labels: of the best snapshot of a translator, and of the cells that an expert should label."""
