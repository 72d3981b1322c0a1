"""The ensemble: pooled predictions of several classifiers and re-stainings, fitted to a source site without its labels.

`fit_ensemble` takes the members (`members`), fits re-stainings and batch norm statistics of the source
(`site_statistics`) and returns a `fitted.FittedEnsemble`, which predicts, and is saved and loaded (`saved`).
`fine_tuned` trains its members further on pseudo-labels and a few labels of the source. `distilled` trains a single
classifier, and `lut_learning` a color table for one frozen classifier, to give the ensemble's predictions.
"""
