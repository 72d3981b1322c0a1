"""Classifiers of single cells: networks, their training, and classifiers that were trained elsewhere.

`protocol.Classifier` is what every classifier offers. `classifier` runs a network, `external` opens a file of another
program, `fine_tune` and `semi_supervised` train, and `config`, `header`, `preprocessing` and `protocol` need no
PyTorch.
"""
