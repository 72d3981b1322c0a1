"""Bundles: one file with all that a hospital needs to re-stain and classify, without PyTorch and without a network.

`archive` is the container, `bundle` its typed content, `signing` its signature, `onnx_file` the check of a network's
file, and `runtime` runs such a network. `hemabridge.models.open_model` opens a bundle as a model.
"""
