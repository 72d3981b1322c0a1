"""Networks as ONNX files and as safetensors, from PyTorch."""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from typing import Any, Final

import torch
from torch import Tensor, nn

from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.deployment.runtime import IMAGES, RESTAINED, SQUARES
from hemabridge.errors import MissingExtraError, ModelError
from hemabridge.models.classifying import ClassifierModel
from hemabridge.models.restaining import TranslatorModel
from hemabridge.networks.color_generators import ColorGenerator
from hemabridge.training.snapshots import weights_of
from hemabridge.training.tensorfile import parse_tensors, tensor_content
from hemabridge.translators.neural import NeuralStandardizer

OPSET: Final = 20
"""Version of the ONNX operators: the first one with the affine grids and samplers that color networks need."""
_EXAMPLES: Final = 2
_EXAMPLE_ROWS: Final = (48, 56)
"""Size of the images of a pointwise network while it is traced; any other size can be given later."""


def classifier_network(model: ClassifierModel) -> bytes:
    """Return the ONNX file of a classifier: float32[N, 3, S, S] as its preprocessing makes them, to logits [N, C].

    Raises:
        ModelError: PyTorch cannot export the network.
    """
    classifier = model.classifier
    assert isinstance(classifier, NetworkClassifier)
    side = classifier.preprocessing.size_px
    example = torch.zeros(_EXAMPLES, 3, side, side)
    return _exported(classifier.network, (example,), ("cells",), "logits", ({0: torch.export.Dim("n")},), model)


def translator_network(model: TranslatorModel) -> bytes:
    """Return the ONNX file of a translator, with the inputs and the output that `deployment.runtime` describes.

    It takes one image at a time, since some networks cannot be traced otherwise. A pointwise one takes any size, and a
    square of the size of its training, which it measures.

    Raises:
        ModelError: PyTorch cannot export the network.
    """
    standardizer = model.cell_standardizer()
    assert isinstance(standardizer, NeuralStandardizer)
    network, side = standardizer.generator, model.crop().size_px
    squares = torch.zeros(1, 3, side, side)
    if not standardizer.is_pointwise:
        return _exported(network, (squares,), (IMAGES,), RESTAINED, ({},), model)
    assert isinstance(network, ColorGenerator)
    images = torch.zeros(1, 3, *_EXAMPLE_ROWS)
    free = {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    return _exported(_Measuring(network), (images, squares), (IMAGES, SQUARES), RESTAINED, (free, {}), model)


def classifier_weights(model: ClassifierModel, header: Mapping[str, Any]) -> bytes:
    """Return the safetensors file of a snapshot with the weights that are used, and this header."""
    weights = weights_of(parse_tensors(model.file.content, model.path), model.path)
    return tensor_content({f"raw/{name}": tensor for name, tensor in weights.items()}, header)


def translator_weights(model: TranslatorModel, header: Mapping[str, Any]) -> bytes:
    """Return the safetensors file of a snapshot with the weights that re-stain to the target, and this header."""
    weights = weights_of(parse_tensors(model.file.content, model.path), model.path)
    own = {f"raw/{name}": tensor for name, tensor in weights.items() if name.startswith("to_target/")}
    return tensor_content(own, header)


class _Measuring(nn.Module):
    """Recolors images by summaries of the squares around their cells."""

    def __init__(self, network: ColorGenerator) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, squares: Tensor) -> Tensor:
        """Return float[B, 3, H, W] for images float[B, 3, H, W] and squares float[B, 3, S, S]."""
        return self.network.recolor(images, self.network.summarize(squares))


def _exported(
    network: nn.Module,
    examples: tuple[Tensor, ...],
    inputs: tuple[str, ...],
    output: str,
    free: tuple[dict[int, Any], ...],
    model: ClassifierModel | TranslatorModel,
) -> bytes:
    """Return the ONNX file of a network; `free` are the sizes of each input that are not fixed."""
    if find_spec("onnx") is None or find_spec("onnxscript") is None:
        raise MissingExtraError("export of a network needs onnx and onnxscript: pip install 'hemabridge[train]'")
    try:
        with _quiet():
            program = torch.onnx.export(
                network.eval(),
                examples,
                dynamo=True,
                opset_version=OPSET,
                input_names=inputs,
                output_names=(output,),
                dynamic_shapes=free,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ModelError(
            f"expected a network that PyTorch exports to ONNX, got one that it does not: {model.path} "
            f"({str(error).splitlines()[0]}); export another model"
        ) from error
    assert program is not None
    return _plain(program.model_proto)


def _plain(model: Any) -> bytes:
    """Return the file without the exporter's notes for developers, such as lines and paths of source files."""
    graph = model.graph
    for each in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del each.metadata_props[:]
        each.doc_string = ""
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress messages of PyTorch's exporter that are meant for its developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
