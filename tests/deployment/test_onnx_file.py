"""What is refused of an ONNX file; the files are made by the package `onnx`, which the program does not use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from hemabridge.deployment.onnx_file import check_onnx
from hemabridge.errors import ModelError

PATH = Path("given.onnx")
WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


def a_model(weights: TensorProto | None = None, nodes: tuple[Any, ...] = ()) -> ModelProto:
    initializer = numpy_helper.from_array(WEIGHTS, "w") if weights is None else weights
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), *nodes],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [initializer],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def with_nan(kind: Any) -> np.ndarray[Any, Any]:
    found = WEIGHTS.astype(kind)
    found[1, 2] = np.nan
    return found


def in_another_file() -> TensorProto:
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return tensor


def other_domain() -> ModelProto:
    return a_model(nodes=(helper.make_node("Evil", ["x"], ["z"], domain="com.example"),))


def imported_domain() -> ModelProto:
    model = a_model()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def own_function() -> ModelProto:
    model = a_model()
    node = helper.make_node("Neg", ["a"], ["b"])
    model.functions.append(helper.make_function("", "F", ["a"], ["b"], [node], [helper.make_opsetid("", 20)]))
    return model


def in_a_branch(node: Any) -> ModelProto:
    empty = helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, None)])
    return a_model(nodes=(helper.make_node("If", ["q"], ["z"], then_branch=empty, else_branch=empty),))


def constant(value: TensorProto) -> Any:
    return helper.make_node("Constant", [], ["c"], value=value)


def two_values() -> ModelProto:
    model = a_model(nodes=(constant(numpy_helper.from_array(WEIGHTS)),))
    # Of a field that is there twice, a reader of Protocol Buffers merges the values.
    attribute = AttributeProto()
    attribute.CopyFrom(model.graph.node[1].attribute[0])
    part = attribute.SerializeToString()
    doubled = part + part[part.index(b"\x2a") :]
    whole = model.SerializeToString()
    assert part in whole
    return Raw(_replaced(model, part, doubled))


def two_domains() -> ModelProto:
    model = a_model().SerializeToString()
    return Raw(model + field(8, field(1, b"") + field(1, b"com.microsoft")))


def hidden_domain() -> ModelProto:
    """The number of a field has a 33rd bit, which ONNX Runtime ignores."""
    node = helper.make_node("Gelu", ["x"], ["z"]).SerializeToString() + wide(7 << 3 | 2) + field(0, b"x")[1:]
    return Raw(_with_in_graph(field(1, node)))


def hidden_nan() -> ModelProto:
    """The type of the weights has a 33rd bit, which ONNX Runtime ignores."""
    tensor = numpy_helper.from_array(with_nan(np.float32), "v").SerializeToString()
    assert tensor.count(b"\x10\x01") == 1
    return Raw(_with_in_graph(field(5, tensor.replace(b"\x10\x01", b"\x10" + wide(1)))))


def wide_number() -> ModelProto:
    return Raw(_with_in_graph(field(5, b"\x10\x01\x20" + wide(1))))


def nan_attribute() -> ModelProto:
    return a_model(nodes=(helper.make_node("LeakyRelu", ["x"], ["z"], alpha=float("nan")),))


def wide(number: int) -> bytes:
    """Return a number below 128 as a varint with its 33rd bit set."""
    return bytes([number | 0x80, 0x80, 0x80, 0x80, 0x10])


def _with_in_graph(part: bytes) -> bytes:
    model = a_model()
    graph = model.graph.SerializeToString() + part
    model.ClearField("graph")
    return model.SerializeToString() + field(7, graph)


class Raw:
    """Bytes that are serialized already."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def SerializeToString(self) -> bytes:  # noqa: N802 - the name of Protocol Buffers
        return self.content


def field(number: int, content: bytes) -> bytes:
    size, out = len(content), bytearray()
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2]) + bytes([*out, size]) + content


def _replaced(model: ModelProto, part: bytes, doubled: bytes) -> bytes:
    node = model.graph.node[1]
    del node.attribute[:]
    made = node.SerializeToString() + field(5, doubled)
    graph = model.graph
    del graph.node[1]
    body = graph.SerializeToString() + field(1, made)
    model.ClearField("graph")
    return model.SerializeToString() + field(7, body)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "operators of another domain": (other_domain, "operators of 'com.example'"),
    "an import of another domain": (imported_domain, "operators of 'com.microsoft'"),
    "functions": (own_function, "functions"),
    "external data": (lambda: a_model(in_another_file()), "weights in another file"),
    "NaN": (lambda: a_model(numpy_helper.from_array(with_nan(np.float32), "w")), "NaN"),
    "NaN of 64 bits": (lambda: a_model(numpy_helper.from_array(with_nan(np.float64), "w")), "NaN"),
    "NaN of 16 bits": (lambda: a_model(numpy_helper.from_array(with_nan(np.float16), "w")), "NaN"),
    "NaN among numbers": (
        lambda: a_model(helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, float("nan")])),
        "NaN",
    ),
    "NaN among 64-bit numbers": (
        lambda: a_model(helper.make_tensor("w", TensorProto.DOUBLE, [2], [1.0, float("nan")])),
        "NaN",
    ),
    "16-bit numbers as integers": (
        lambda: a_model(helper.make_tensor("w", TensorProto.FLOAT16, [2], [1.0, float("nan")])),
        "unknown kind",
    ),
    "NaN in a constant": (
        lambda: a_model(nodes=(constant(numpy_helper.from_array(with_nan(np.float32))),)),
        "NaN",
    ),
    "NaN in a branch": (lambda: in_a_branch(constant(numpy_helper.from_array(with_nan(np.float32)))), "NaN"),
    "a domain in a branch": (lambda: in_a_branch(helper.make_node("Evil", [], ["c"], domain="x")), "operators of 'x'"),
    "infinite weights": (lambda: a_model(numpy_helper.from_array(WEIGHTS / np.float32(0), "w")), "NaN|infinite"),
    "two values of an attribute": (two_values, "two values"),
    "two domains of an import": (two_domains, "operators of 'com.microsoft'"),
    "a domain in a field of a wide number": (hidden_domain, "another file"),
    "NaN of a type of a wide number": (hidden_nan, "unknown kind"),
    "a number that is too wide": (wide_number, "another file"),
    "NaN in an attribute": (nan_attribute, "NaN"),
    "NaN in a list of an attribute": (
        lambda: a_model(nodes=(helper.make_node("Constant", [], ["c"], value_floats=[1.0, float("nan")]),)),
        "NaN",
    ),
    "no network": (ModelProto, "no network"),
}


def test_a_plain_network_passes() -> None:
    check_onnx(a_model().SerializeToString(), PATH)
    # The open end of a range is no damage.
    check_onnx(
        a_model(nodes=(constant(numpy_helper.from_array(np.array(np.inf, np.float32))),)).SerializeToString(), PATH
    )


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises(ModelError, match=message):
        check_onnx(make().SerializeToString(), PATH)


def test_a_cut_file_is_refused() -> None:
    whole = a_model().SerializeToString()
    passed = []
    for length in range(len(whole)):
        try:
            check_onnx(whole[:length], PATH)
        except ModelError:
            continue
        passed.append(length)
    # Where the last field begins, what is before it is a whole network without a version of the operators.
    assert len(passed) <= 2


def test_onnx_runtime_sees_what_a_wide_number_hides() -> None:
    """The reason for the refusal: here the graph itself is in such a field."""
    model = a_model()
    model.ir_version = 9
    graph = model.graph.SerializeToString()
    model.ClearField("graph")
    hidden = model.SerializeToString() + wide(7 << 3 | 2) + field(7, graph)[1:]
    assert InferenceSession(hidden).get_inputs()[0].name == "x"
    with pytest.raises(ModelError, match="another file"):
        check_onnx(hidden, PATH)


@given(st.data())
def test_damage_ends_in_nothing_but_an_error(data: st.DataObject) -> None:
    whole = bytearray(a_model().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        check_onnx(bytes(whole), PATH)
    except ModelError as error:
        assert "expected an ONNX network" in str(error)  # noqa: PT017 - damage may also be harmless
