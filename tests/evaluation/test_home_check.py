"""Whether a wrong description of a classifier is found, with networks that really need another one."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from safetensors.torch import save_file

from hemabridge.classifiers.config import ExternalConfig
from hemabridge.classifiers.external import load_external
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.errors import ModelError
from hemabridge.evaluation.home_check import RANGES, OtherSite, check_at_home, check_predictions
from hemabridge.evaluation.home_failure import HomeFailure, first_words
from hemabridge.imaging.standardizer import UInt8Images

CLASSES = ("basophil", "eosinophil", "lymphocyte", "neutrophil")
PX = 32
NONE = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def colored_cells(seed: int, n: int = 30) -> tuple[UInt8Images, NDArray[np.int64]]:
    """Cells whose class is the color of their center: violet, orange, blue, pink on a white field, with noise."""
    rng = np.random.default_rng(seed)
    colors = np.array([[90, 40, 140], [230, 110, 60], [70, 90, 200], [225, 130, 175]])
    labels = np.repeat(np.arange(4), n)
    images = np.full((len(labels), PX, PX, 3), 235.0)
    images[:, 8:24, 8:24] = colors[labels][:, None, None]
    noisy = images + rng.normal(0, 8, images.shape) + rng.normal(0, 5, (len(labels), 1, 1, 3))
    return noisy.clip(0, 255).astype(np.uint8), labels


Made = Callable[..., ExternalConfig]


def learned(inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> torch.nn.Sequential:
    """Train a small convolutional network on inputs float32[N, 3, PX, PX] as its own program makes them."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.BatchNorm2d(3, affine=False, track_running_stats=True, momentum=None),
        torch.nn.Conv2d(3, 8, 5, stride=3),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 4),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    images, wanted = torch.from_numpy(np.ascontiguousarray(inputs)), torch.from_numpy(labels)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(images), wanted).backward()
        optimizer.step()
    return net.eval()


def as_onnx(net: torch.nn.Sequential, path: Path, *, channels_last: bool = False) -> None:
    """Write the network as ONNX by hand, with its input of free batch size."""
    norm, conv, head = net[0], net[1], net[5]
    tensors = {
        "scale": torch.ones(3),
        "shift": torch.zeros(3),
        "mean": norm.running_mean,
        "var": norm.running_var,
        "kernel": conv.weight,
        "bias": conv.bias,
        "weights": head.weight,
        "offset": head.bias,
    }
    nodes = [
        helper.make_node("BatchNormalization", ["planes", "scale", "shift", "mean", "var"], ["normed"]),
        helper.make_node("Conv", ["normed", "kernel", "bias"], ["seen"], strides=[3, 3]),
        helper.make_node("Relu", ["seen"], ["lit"]),
        helper.make_node("GlobalAveragePool", ["lit"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "weights", "offset"], ["scores"], transB=1),
    ]
    first = helper.make_node(
        *(("Transpose", ["image"], ["planes"]) if channels_last else ("Identity", ["image"], ["planes"]))
    )
    if channels_last:
        first.attribute.append(helper.make_attribute("perm", [0, 3, 1, 2]))
    shape: list[Any] = ["n", PX, PX, 3] if channels_last else ["n", 3, PX, PX]
    graph = helper.make_graph(
        [first, *nodes],
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 4])],
        [onnx.numpy_helper.from_array(t.detach().numpy().astype(np.float32), name) for name, t in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Train an ONNX classifier as `truly` says; return how it is described, as ImageNet's in RGB if not `stated`."""
    folder = tmp_path_factory.mktemp("networks")

    @cache
    def trained(own: Preprocessing) -> torch.nn.Sequential:
        images, labels = colored_cells(1)
        return learned(own(images), labels)

    def make(classes: tuple[str, ...] = CLASSES, stated: dict[str, Any] | None = None, **truly: Any) -> ExternalConfig:
        path = folder / f"{len(list(folder.iterdir()))}.onnx"
        own = Preprocessing.model_validate({"size_px": PX, **truly, "layout": "nchw"})
        as_onnx(trained(own), path, channels_last=truly.get("layout") == "nhwc")
        described = Preprocessing.model_validate({"size_px": PX, **(stated or {})})
        return ExternalConfig(file=path, classes=classes, preprocessing=described)

    return make


def checked(config: ExternalConfig) -> HomeFailure | None:
    images, labels = colored_cells(2)
    return check_at_home("theirs", "home", load_external(config), images, labels, CLASSES)


def found(config: ExternalConfig) -> HomeFailure:
    failure = checked(config)
    assert failure is not None
    return failure


def explaining(failure: HomeFailure) -> dict[str, float]:
    return {each.setting: each.balanced_accuracy for each in failure.explanations if each.explains}


def test_a_classifier_that_is_described_rightly_is_no_failure(network: Made) -> None:
    assert checked(network()) is None
    assert checked(network(channels="bgr", stated={"channels": "bgr"})) is None
    assert checked(network(layout="nhwc", stated={"layout": "nhwc"})) is None


def test_classes_in_another_order_are_told_with_the_order_that_is_right(network: Made) -> None:
    config = network(classes=("lymphocyte", "neutrophil", "basophil", "eosinophil"))
    failure = found(config)
    assert failure.balanced_accuracy < 0.05
    right = 'classes = ["basophil", "eosinophil", "lymphocyte", "neutrophil"]'
    assert explaining(failure)[right] > 0.95
    assert failure.sentence.startswith("theirs fails at its own hospital: balanced accuracy 0.0% on 120 cells of home")
    assert "its outputs are classes in another order" in failure.sentence
    assert right in failure.sentence
    mended = config.model_copy(update={"classes": CLASSES})
    assert checked(mended) is None


def test_one_swapped_pair_of_four_is_told_though_it_is_better_than_guessing(network: Made) -> None:
    failure = found(network(classes=("basophil", "eosinophil", "neutrophil", "lymphocyte")))
    assert 0.4 < failure.balanced_accuracy < 0.6
    assert 'classes = ["basophil", "eosinophil", "lymphocyte", "neutrophil"]' in explaining(failure)
    assert "does much worse than it could at its own hospital" in failure.sentence


def test_a_classifier_that_learned_bgr_is_told_with_the_setting_that_mends_it(network: Made) -> None:
    config = network(channels="bgr")
    failure = found(config)
    gains = explaining(failure)
    assert gains['channels = "bgr"'] > 0.95
    assert gains['channels = "bgr"'] > failure.balanced_accuracy + 0.25
    mended = config.model_copy(update={"preprocessing": config.preprocessing.model_copy(update={"channels": "bgr"})})
    assert checked(mended) is None


@pytest.mark.parametrize(
    ("meaning", "setting"),
    [
        ("values of 0 to 1, without mean and deviation", "mean = [0, 0, 0], std = [1, 1, 1]"),
        pytest.param(
            "values of 0 to 255, without mean and deviation",
            "mean = [0, 0, 0], std = [0.00392157, 0.00392157, 0.00392157]",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_another_range_of_values_is_told(network: Made, meaning: str, setting: str) -> None:
    mean, std = RANGES[meaning]
    failure = found(network(mean=mean, std=std))
    assert explaining(failure)[setting] > 0.9
    assert meaning in failure.sentence


@pytest.mark.slow
def test_two_wrong_settings_together_are_told_together(network: Made) -> None:
    mean, std = RANGES["values of 0 to 255, without mean and deviation"]
    first = found(network(channels="bgr", mean=mean, std=std)).explanations[0]
    assert first.setting == 'channels = "bgr", mean = [0, 0, 0], std = [0.00392157, 0.00392157, 0.00392157]'
    assert first.explains
    assert first.balanced_accuracy > 0.95


def test_an_onnx_network_that_takes_channels_last_is_refused_with_its_setting(network: Made) -> None:
    config = network(layout="nhwc")
    with pytest.raises(ModelError, match=r'got image: tensor\(float\) .*set preprocessing.layout = "nhwc"'):
        load_external(config)
    free = config.file.with_name("free.onnx")
    model = onnx.load(config.file)
    for axis in model.graph.input[0].type.tensor_type.shape.dim:
        axis.dim_param = "any"
    onnx.save(model, free)
    with pytest.raises(
        ModelError, match=r"expected a network that takes float32\[\d+, 3, 32, 32\].*preprocessing.layout"
    ):
        load_external(config.model_copy(update={"file": free})).probabilities(colored_cells(2)[0])


def test_channels_last_is_an_explanation_where_the_network_takes_any_axes(network: Made) -> None:
    """A network of free axes that pools channels first whatever it gets: only the layout tells what it learned."""
    images, labels = colored_cells(2)

    class AnyAxes:
        """Predicts by the mean of the last axis, as a network that takes channels last does."""

        name, classes = "theirs", CLASSES

        def __init__(self, preprocessing: Preprocessing) -> None:
            self.preprocessing = preprocessing

        def with_preprocessing(self, preprocessing: Preprocessing) -> "AnyAxes":
            return AnyAxes(preprocessing)

        def probabilities(self, images: UInt8Images) -> NDArray[np.float32]:
            means = self.preprocessing(images).reshape(len(images), PX * PX, 3)[:, 500:524].mean(axis=1)
            distance = ((means[:, None] - centers[None]) ** 2).sum(axis=2)
            shares = np.exp(-distance - (-distance).max(axis=1, keepdims=True))
            return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)

    right = Preprocessing(size_px=PX, layout="nhwc")
    means = right(images).reshape(len(images), PX * PX, 3)[:, 500:524].mean(axis=1)
    centers = np.stack([means[labels == label].mean(axis=0) for label in range(4)])
    assert check_at_home("theirs", "home", AnyAxes(right), images, labels, CLASSES) is None
    failure = check_at_home("theirs", "home", AnyAxes(replace_layout(right)), images, labels, CLASSES)
    assert failure is not None
    assert explaining(failure)['layout = "nhwc"'] > 0.9


def replace_layout(preprocessing: Preprocessing) -> Preprocessing:
    return preprocessing.model_copy(update={"layout": "nchw"})


def test_a_network_that_learned_nothing_is_not_explained(network: Made, tmp_path: Path) -> None:
    torch.manual_seed(3)
    save_file(timm.create_model("test_resnet", num_classes=4).state_dict(), tmp_path / "random.safetensors")
    config = ExternalConfig(
        file=tmp_path / "random.safetensors",
        architecture="test_resnet",
        classes=CLASSES,
        preprocessing=Preprocessing(size_px=PX),
    )
    images, labels = colored_cells(2)
    shuffled = np.random.default_rng(0).permutation(labels)
    failure = check_at_home("theirs", "home", load_external(config), images, shuffled, CLASSES)
    assert failure is not None
    assert explaining(failure) == {}
    assert (
        "No other order of its classes, channels or axes and no other range of values explains it" in failure.sentence
    )


def test_few_cells_explain_nothing(network: Made) -> None:
    images, labels = colored_cells(2, n=1)
    config = network(classes=("lymphocyte", "neutrophil", "basophil", "eosinophil"))
    failure = check_at_home("theirs", "home", load_external(config), images, labels, CLASSES)
    assert failure is not None
    assert explaining(failure) == {}


def test_a_classifier_of_more_classes_is_checked_over_those_of_the_study(network: Made) -> None:
    images, labels = colored_cells(2)
    some = labels != 1
    of_three = np.array([0, -1, 1, 2])[labels[some]]
    config = network(classes=("neutrophil", "blast", "basophil", "lymphocyte"))
    wanted = ("basophil", "lymphocyte", "neutrophil")
    failure = check_at_home("theirs", "home", load_external(config), images[some], of_three, wanted)
    assert failure is not None
    assert 'classes = ["basophil", "blast", "lymphocyte", "neutrophil"]' in explaining(failure)


def test_a_classifier_that_was_trained_here_is_told_without_explanations() -> None:
    truth = np.repeat([0, 1], 20)
    assert check_predictions("ours", "home", truth, truth, 2) is None
    failure = check_predictions("ours", "home", truth, np.zeros(40, np.int64), 2)
    assert failure is not None
    assert first_words([failure]) == [
        "ours fails at its own hospital: balanced accuracy 50.0% on 40 cells of home, where guessing gives 50.0%. "
        "Do not trust its predictions: check the labels of its training cells, or train it longer."
    ]


def test_swapped_sites_are_told_where_the_classifier_is_at_home_at_the_other_one(network: Made) -> None:
    images, labels = colored_cells(2)
    other = OtherSite("away", images, labels)
    flat = np.full_like(images, 200)
    classifier = load_external(network())
    failure = check_at_home("theirs", "home", classifier, flat, labels, CLASSES, other)
    assert failure is not None
    assert explaining(failure)["source and target exchanged"] > 0.95
    assert "source and target are swapped, for it is a classifier of away" in failure.sentence
    assert check_at_home("theirs", "home", classifier, images, labels, CLASSES, other) is None
