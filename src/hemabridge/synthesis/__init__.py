"""Quality of synthetic cells: class, shape of the nucleus, copies of training cells, and value as training data."""
