"""Models that classify cells."""
