"""Manifests, audits, splits, loaded cells, augmentation, simulated hospitals."""
