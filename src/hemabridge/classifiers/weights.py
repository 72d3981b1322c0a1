"""Weights from elsewhere: safetensors files with timm's keys. Nothing is ever unpickled."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from hemabridge.errors import ModelError

_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_NOT_WEIGHTS = "num_batches_tracked"
_SHOWN = 5


def read_weights(path: Path, content: bytes | None = None) -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU; `content` is all of its bytes where it was read already.

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


def fill(net: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Load `weights` into `net`; every key must be there, with its shape, and no other.

    Batch norm's step counters may be missing, as files from before they existed lack them.

    Raises:
        ModelError: something is missing, left over, or of another shape; says which.
    """
    expected = net.state_dict()
    missing = [key for key in expected if key not in weights and not key.endswith(_NOT_WEIGHTS)]
    unexpected = [key for key in weights if key not in expected]
    misshapen = [
        f"{key} {list(weights[key].shape)} instead of {list(tensor.shape)}"
        for key, tensor in expected.items()
        if key in weights and weights[key].shape != tensor.shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    if any(problems.values()):
        told = "; ".join(f"{len(keys)} {problem}: {_some(keys)}" for problem, keys in problems.items() if keys)
        raise ModelError(f"expected the weights of {what}, got others ({told}); check the architecture's name")
    net.load_state_dict(dict(weights), strict=False)


def _some(keys: list[str]) -> str:
    shown = ", ".join(keys[:_SHOWN])
    return shown if len(keys) <= _SHOWN else f"{shown}, ..."
