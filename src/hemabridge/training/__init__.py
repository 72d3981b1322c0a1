"""One training loop for all models: phases, schedules, averaged weights, checkpoints, snapshots and event logs."""
