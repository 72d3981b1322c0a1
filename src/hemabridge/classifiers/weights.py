"""Pretrained weights: safetensors files with timm's keys. Nothing is ever unpickled."""

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from hemabridge.errors import ModelError

_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_NOT_WEIGHTS = "num_batches_tracked"
_BACKBONE = "backbone."
_CHUNKED_BLOCK = re.compile(r"^blocks\.\d+\.(\d+)\.")
_SHOWN = 5
_WRAPPERS = ("module", "model", "_orig_mod")  # of DataParallel, of a class around the network, of torch.compile


def read_weights(path: Path, content: bytes | None = None) -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU; `content` is all of its bytes, if it was read already.

    Raises:
        ModelError: the file is missing, damaged, or a pickle.
    """
    if content is None:
        if not path.is_file():
            raise ModelError(f"expected a weights file, got nothing: {path} does not exist")
        content = path.read_bytes()
    if content.startswith(_PICKLE_STARTS):
        raise ModelError(
            f"expected safetensors, got a pickle, which can run any code when it is opened: {path}. On a machine where "
            'you trust the file, convert it: python -c "import torch, safetensors.torch as s; s.save_file('
            f"torch.load('{path.name}', weights_only=True), '{path.stem}.safetensors')\""
        )
    try:
        return load(content)
    except (SafetensorError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"expected a whole safetensors file, got a damaged or another one: {path} ({error})"
        ) from error


def backbone_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the vision transformer out of the teacher of a DINOv2 training, as DinoBloom publishes it.

    The heads of that training are left out. A training in chunks of blocks numbers each block twice
    (`blocks.CHUNK.BLOCK`), timm once. Other weights are returned as they are.
    """
    if not any(key.startswith(_BACKBONE) for key in weights):
        return dict(weights)
    bare = {key.removeprefix(_BACKBONE): tensor for key, tensor in weights.items() if key.startswith(_BACKBONE)}
    return {_CHUNKED_BLOCK.sub(r"blocks.\1.", key): tensor for key, tensor in bare.items()}


def unwrapped(weights: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Take off what wrappers put in front of the keys, such as `module.` or `model.`, if it is clear what is meant.

    It is where no key fits `net`, all keys begin with the same wrapper's name, and without it all of `net` is there,
    with its shapes; several wrappers are taken off one after the other. Otherwise the keys stay as they are.
    """
    expected = net.state_dict()
    bare = dict(weights)
    while bare and not any(key in expected for key in bare):
        first = {key.partition(".")[0] for key in bare}
        if len(first) != 1 or not first <= set(_WRAPPERS):
            break
        bare = {key.partition(".")[2]: tensor for key, tensor in bare.items()}
        if not _missing(bare, expected) and not _misshapen(bare, expected):
            return bare
    return dict(weights)


def _missing(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    return [key for key in expected if key not in weights and not key.endswith(_NOT_WEIGHTS)]


def _misshapen(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{key} {list(weights[key].shape)} instead of {list(tensor.shape)}"
        for key, tensor in expected.items()
        if key in weights and weights[key].shape != tensor.shape
    ]


def fill(net: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Load `weights` into `net`; the keys and the shapes must be those of `net`.

    The step counters of batch norm may be missing, since files of old PyTorch versions lack them.

    Raises:
        ModelError: a key is missing, unexpected, or of another shape; the message lists them.
    """
    expected = net.state_dict()
    unexpected = [key for key in weights if key not in expected]
    problems = {
        "missing": _missing(weights, expected),
        "unexpected": unexpected,
        "of another shape": _misshapen(weights, expected),
    }
    if any(problems.values()):
        told = "; ".join(f"{len(keys)} {problem}: {_some(keys)}" for problem, keys in problems.items() if keys)
        raise ModelError(f"expected the weights of {what}, got others ({told}); {_advice(unexpected)}")
    net.load_state_dict(dict(weights), strict=False)


def _advice(unexpected: list[str]) -> str:
    wrapped = [key for key in unexpected if key.partition(".")[0] in _WRAPPERS]
    if not wrapped:
        return "check the architecture's name"
    wrapper = wrapped[0].partition(".")[0]
    return (
        f"{len(wrapped)} keys begin with {wrapper}., as a wrapper writes them: it is taken off where "
        "all keys begin with it and the rest are those of the architecture; check the architecture's name, and save "
        "the state dict of the network alone"
    )


def _some(keys: list[str]) -> str:
    shown = ", ".join(keys[:_SHOWN])
    return shown if len(keys) <= _SHOWN else f"{shown}, ..."
