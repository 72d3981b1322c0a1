"""The ensemble: pooled predictions of several classifiers and re-stainings, fitted to a source site without its labels.

`fit.fit_ensemble` takes the members (`members`), fits re-stainings to each subdomain (`subdomain_fits`), ranks them by
soft agreement (`ranking`), trains further members (`target_to_source`, `pseudo_labels`) and returns a
`fitted.FittedEnsemble`, which predicts, and is saved and loaded (`saved`). `lut_learning` learns a color table with
which one frozen classifier predicts what the ensemble predicts.
"""
