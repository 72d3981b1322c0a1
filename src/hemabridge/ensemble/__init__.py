"""The ensemble: pooled predictions of several classifiers and re-stainings, fitted to a source site without its labels.

`fit.fit_ensemble` takes the members (`members`), fits re-stainings and batch norm statistics of the source
(`site_statistics`) and returns a `fitted.FittedEnsemble`, which predicts, and is saved and loaded (`saved`). It can be
fine-tuned on a few labels of the source (`pseudo_labels`). `lut_learning` learns a color table with which one frozen
classifier predicts what the ensemble predicts.
"""
