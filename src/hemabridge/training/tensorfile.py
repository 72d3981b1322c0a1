"""Tensors with JSON beside them in one safetensors file: one file is one atomic write."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hemabridge.errors import ModelError
from hemabridge.storage.files import atomic_write

HEADER = "hemabridge"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header; the file appears whole or not at all."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_write(path) as temporary:
        # Not save_file, whose files only their owner may read.
        temporary.write_bytes(save(whole, {HEADER: json.dumps(header)}))


def read_header(path: Path) -> dict[str, Any]:
    """Read the JSON header alone.

    Raises:
        ModelError: the file does not exist, is no safetensors file, or was not written by hemabridge.
    """
    return _read(path, with_tensors=False)[1]


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read all tensors (on the CPU) and the JSON header.

    Raises:
        ModelError: the file does not exist, is no safetensors file, or was not written by hemabridge.
    """
    return _read(path, with_tensors=True)


def _read(path: Path, *, with_tensors: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise ModelError(f"expected a safetensors file, got nothing: {path} does not exist")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = (file.metadata() or {}).get(HEADER)
            if header is None:
                raise ModelError(f"expected a file that hemabridge wrote, got another safetensors file: {path}")
            tensors = {name: file.get_tensor(name) for name in file.keys()} if with_tensors else {}  # noqa: SIM118
            about = json.loads(header)
    except (SafetensorError, json.JSONDecodeError, RecursionError, OSError) as error:
        raise ModelError(f"expected a whole safetensors file, got a damaged one: {path} ({error})") from error
    if not isinstance(about, dict):
        raise ModelError(f"expected a file that hemabridge wrote, got a header that is no table: {path}")
    return tensors, about
