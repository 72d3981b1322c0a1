"""Neural network architectures, without losses or training."""
