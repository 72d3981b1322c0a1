"""Classifiers across sites: predictions, results."""
