"""One training loop for every objective: phases, schedules, EMA, checkpoints, events."""
