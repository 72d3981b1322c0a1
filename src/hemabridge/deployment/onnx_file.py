"""Check of an ONNX file before ONNX Runtime opens it: standard operators alone, all weights in the file, all finite.

It reads the Protocol Buffers encoding itself (https://protobuf.dev/programming-guides/encoding), with the field numbers
of `onnx/onnx.proto3`: the package `onnx` is not needed to run a bundle.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hemabridge.errors import ModelError

DOMAINS: Final = (b"", b"ai.onnx")
"""Domains of the standard operators."""
DEEPEST: Final = 16
"""Deepest nesting of graphs and tensors."""

_Value: TypeAlias = int | memoryview
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT: Final = 10
_LARGEST_KEY: Final = 2**32 - 1
_LARGEST_KIND: Final = 2**31 - 1
"""A reader of Protocol Buffers cuts larger numbers to 32 bits, and would see another field or type than this one."""

_FLOAT, _FLOAT16, _DOUBLE, _BFLOAT16 = 1, 10, 11, 16
_RAW_TYPES: Final = {_FLOAT: "<f4", _FLOAT16: "<f2", _DOUBLE: "<f8"}


class _OnnxError(Exception):
    """What is wrong with a file."""


@dataclass
class _Tensor:
    """What is read of a TensorProto."""

    kind: int = 0
    parts: list[NDArray[np.floating]] = field(default_factory=list)
    raw: memoryview = field(default_factory=lambda: memoryview(b""))
    has_words: bool = False


def check_onnx(content: bytes, path: Path) -> None:
    """Check the file of a network; errors state `path`.

    Raises:
        ModelError: it has operators of other domains, functions, weights in other files, or weights that are no finite
            numbers; or it is not ONNX.
    """
    try:
        _check_model(memoryview(content))
    except _OnnxError as fault:
        raise ModelError(
            f"expected an ONNX network of standard operators with all of its weights, got {fault}: {path}; "
            "export it again"
        ) from fault


def _check_model(model: memoryview) -> None:
    graphs = 0
    for number, value in _fields(model):
        if number == 7:  # graph
            graphs += 1
            _check_graph(_message(value), 0)
        elif number == 8:  # opset_import
            _check_import(_message(value))
        elif number in (20, 25):  # training_info, functions
            raise _OnnxError("functions or a training of its own")
    if graphs != 1:
        raise _OnnxError("no network" if graphs == 0 else "several networks")


def _check_import(opset: memoryview) -> None:
    for number, value in _fields(opset):
        if number == 1:  # domain
            _check_domain(_message(value))


def _check_graph(graph: memoryview, depth: int) -> None:
    if depth > DEEPEST:
        raise _OnnxError(f"graphs nested deeper than {DEEPEST}")
    for number, value in _fields(graph):
        if number == 1:  # node
            _check_node(_message(value), depth)
        elif number == 5:  # initializer
            _check_tensor(_message(value))
        elif number == 15:  # sparse_initializer
            raise _OnnxError("sparse weights")


def _check_node(node: memoryview, depth: int) -> None:
    for number, value in _fields(node):
        if number == 7:  # domain
            _check_domain(_message(value))
        elif number == 5:  # attribute
            _check_attribute(_message(value), depth)


def _check_attribute(attribute: memoryview, depth: int) -> None:
    numbers = [number for number, _ in _fields(attribute)]
    if numbers.count(5) > 1 or numbers.count(6) > 1:
        raise _OnnxError("an attribute with two values")  # which a reader of Protocol Buffers would merge
    for number, value in _fields(attribute):
        if number in (2, 7):  # f, floats
            _check_no_nan([_floats(value, "<f4")])
        elif number in (5, 10):  # t, tensors
            _check_tensor(_message(value))
        elif number in (6, 11):  # g, graphs
            _check_graph(_message(value), depth + 1)
        elif number in (22, 23):  # sparse_tensor, sparse_tensors
            raise _OnnxError("sparse weights")


def _check_domain(domain: memoryview) -> None:
    if bytes(domain) not in DOMAINS:
        raise _OnnxError(f"operators of {bytes(domain)[:40].decode(errors='replace')!r}")


def _check_tensor(tensor: memoryview) -> None:
    found = _Tensor()
    for number, value in _fields(tensor):
        if number == 2:  # data_type
            found.kind = _number(value)
        elif number == 4:  # float_data, packed or not
            found.parts.append(_floats(value, "<f4"))
        elif number == 10:  # double_data
            found.parts.append(_floats(value, "<f8"))
        elif number == 9:  # raw_data
            found.raw = _message(value)
        elif number == 13 or (number == 14 and value != 0):  # external_data, data_location
            raise _OnnxError("weights in another file")
        found.has_words = found.has_words or number == 5  # int32_data
    if not 0 < found.kind <= _LARGEST_KIND or (found.has_words and found.kind in (_FLOAT16, _BFLOAT16)):
        raise _OnnxError("weights of an unknown kind")
    values = [*found.parts, *_raw(found)]
    _check_no_nan(values)
    # A single infinite number is the open end of a range; among weights it is damage.
    if any(part.size > 1 and not np.isfinite(part).all() for part in values):
        raise _OnnxError("weights that are infinite")


def _check_no_nan(values: Iterable[NDArray[np.floating]]) -> None:
    if any(np.isnan(part).any() for part in values):
        raise _OnnxError("weights that are no numbers (NaN)")


def _raw(tensor: _Tensor) -> list[NDArray[np.floating]]:
    if tensor.kind == _BFLOAT16:
        words = _array(tensor.raw, "<u2").astype(np.uint32) << 16
        return [words.view(np.float32)]
    if tensor.kind in _RAW_TYPES:
        return [_array(tensor.raw, _RAW_TYPES[tensor.kind])]
    return []


def _floats(value: _Value, kind: str) -> NDArray[np.floating]:
    """Return packed numbers, or one that is not packed, which `_fields` returns as its bits."""
    if isinstance(value, int):
        size = np.dtype(kind).itemsize
        if value >> (8 * size):
            raise _OnnxError("another file")
        return np.frombuffer(value.to_bytes(size, "little"), kind)
    return _array(value, kind)


def _array(content: memoryview, kind: str) -> NDArray[np.floating]:
    if len(content) % np.dtype(kind).itemsize:
        raise _OnnxError("weights of which a part is missing")
    return np.frombuffer(content, kind)


def _message(value: _Value) -> memoryview:
    if isinstance(value, int):
        raise _OnnxError("another file")
    return value


def _number(value: _Value) -> int:
    if not isinstance(value, int):
        raise _OnnxError("another file")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, _Value]]:
    """Yield number and value of each field: an integer, or bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        if key > _LARGEST_KEY:
            raise _OnnxError("another file")
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(kind, -1)
        if size < 0 or size > len(message) - place:
            raise _OnnxError("another file, or one of which a part is missing")
        part = message[place : place + size]
        yield number, part if kind == _BYTES else int.from_bytes(part, "little")
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(message[place : place + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, place + count + 1
    raise _OnnxError("another file, or one of which a part is missing")
