"""Images and what is known about them: manifests, audits, splits, loaded cells, augmentation, simulated hospitals.

`index` makes a manifest from a folder, by the rules of `listing`, `layouts` and `folder_levels`. `cells` loads the
images of a manifest as an array, and `new_cells` those of a hospital that no study has used.
"""
