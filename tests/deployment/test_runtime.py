"""A pointwise network in ONNX Runtime: it sees each color of an image once, with the same result."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hemabridge.deployment.runtime import IMAGES, RESTAINED, SQUARES, OnnxRestainer
from hemabridge.imaging.standardizer import UInt8Image


@pytest.fixture(scope="module")
def restainer() -> OnnxRestainer:
    """images * 0.5 + the mean of the square: what becomes of a color depends on the square as well."""
    free = helper.make_tensor_value_info(IMAGES, TensorProto.FLOAT, [1, 3, "h", "w"])
    square = helper.make_tensor_value_info(SQUARES, TensorProto.FLOAT, [1, 3, 8, 8])
    made = helper.make_tensor_value_info(RESTAINED, TensorProto.FLOAT, [1, 3, "h", "w"])
    half = helper.make_tensor("half", TensorProto.FLOAT, [], [0.5])
    nodes = [
        helper.make_node("GlobalAveragePool", [SQUARES], ["mean"]),
        helper.make_node("Mul", [IMAGES, "half"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], [RESTAINED]),
    ]
    graph = helper.make_graph(nodes, "film", [free, square], [made], [half])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    content = io.BytesIO()
    onnx.save(model, content)
    return OnnxRestainer(content.getvalue(), Path("film.onnx"))


class Asked:
    """A session that counts the pixels of which it was asked."""

    def __init__(self, session: Any) -> None:
        self.session, self.pixels = session, list[int]()

    def run(self, outputs: list[str], given: dict[str, np.ndarray]) -> Any:
        self.pixels.append(given[IMAGES][0, 0].size)
        return self.session.run(outputs, given)


def scaled(image: UInt8Image) -> np.ndarray:
    return (image.transpose(2, 0, 1)[None] / 127.5 - 1).astype(np.float32)


@pytest.mark.parametrize("levels", [2, 256])
def test_each_color_is_given_to_a_pointwise_network_once(
    restainer: OnnxRestainer, levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(levels)
    image: UInt8Image = rng.integers(0, levels, (40, 30, 3), np.uint8)
    square: UInt8Image = rng.integers(0, 256, (8, 8, 3), np.uint8)
    wanted = restainer.session.run([RESTAINED], {IMAGES: scaled(image), SQUARES: scaled(square)})[0]
    asked = Asked(restainer.session)
    monkeypatch.setattr(restainer, "session", asked)
    found = restainer.standardize_by(image[None], square[None])[0]
    levels_of_wanted = np.rint((np.clip(wanted[0], -1, 1) + 1) * 127.5).transpose(1, 2, 0)
    np.testing.assert_array_equal(found, levels_of_wanted)
    assert asked.pixels == [len(np.unique(image.reshape(-1, 3), axis=0))]
