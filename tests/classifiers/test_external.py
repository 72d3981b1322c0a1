import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
from onnx import TensorProto, helper
from pydantic import ValidationError
from safetensors.torch import save_file

from hemabridge.classifiers.classifier import Classifier
from hemabridge.classifiers.config import ClassifierConfig, ExternalConfig
from hemabridge.classifiers.external import load_external
from hemabridge.classifiers.header import ClassifierHeader
from hemabridge.classifiers.network import ClassifierNetwork, new_network
from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.errors import ModelError
from hemabridge.training.snapshots import write_snapshot

ARCHITECTURE = "test_efficientnet"
CLASSES = ("neutrophil", "lymphocyte", "blast")
PREPROCESSING = Preprocessing(size_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)


def a_model() -> torch.nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(ARCHITECTURE, num_classes=3).eval()
    torch.nn.init.normal_(model.classifier.weight)
    return model


def expected_of(model: torch.nn.Module) -> np.ndarray:
    with torch.inference_mode():
        return torch.softmax(model(torch.from_numpy(PREPROCESSING(IMAGES).copy())), dim=1).numpy()


def graph(
    path: Path,
    *,
    operator: str = "Identity",
    batch: int | str = "n",
    channels: int = 3,
    kind: int = TensorProto.FLOAT,
) -> Path:
    """Write a network whose outputs are `operator` of the mean of each channel."""
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["means"], keepdims=0),
        helper.make_node(operator, ["means"], ["scores"]),
    ]
    whole = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("image", kind, [batch, channels, 32, 32])],
        [helper.make_tensor_value_info("scores", kind, [batch, channels])],
        [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])],
    )
    onnx.save(helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def onnx_config(path: Path, **changes: object) -> ExternalConfig:
    given = {"file": path, "classes": CLASSES, "preprocessing": PREPROCESSING} | changes
    return ExternalConfig.model_validate(given)


def test_a_timm_state_dict_judges_as_timms_own_model(tmp_path: Path) -> None:
    model = a_model()
    save_file(model.state_dict(), tmp_path / "theirs.safetensors")
    config = onnx_config(tmp_path / "theirs.safetensors", architecture=ARCHITECTURE)
    classifier = load_external(config)
    assert isinstance(classifier, Classifier)
    assert (classifier.name, classifier.classes) == ("theirs", CLASSES)
    np.testing.assert_allclose(classifier.probabilities(IMAGES), expected_of(model), atol=1e-5)


@pytest.mark.parametrize("wrapper", ["module.", "model."])
def test_a_timm_state_dict_may_have_a_wrappers_name_in_front_of_all_keys(tmp_path: Path, wrapper: str) -> None:
    model = a_model()
    save_file({f"{wrapper}{key}": tensor for key, tensor in model.state_dict().items()}, tmp_path / "w.safetensors")
    classifier = load_external(onnx_config(tmp_path / "w.safetensors", architecture=ARCHITECTURE))
    np.testing.assert_allclose(classifier.probabilities(IMAGES), expected_of(model), atol=1e-5)


def test_a_timm_state_dict_of_other_classes_or_without_a_head_is_refused(tmp_path: Path) -> None:
    save_file(a_model().state_dict(), tmp_path / "w.safetensors")
    config = onnx_config(tmp_path / "w.safetensors", architecture=ARCHITECTURE, classes=("a", "b"))
    with pytest.raises(ModelError, match=r"classifier of 2 classes.*weight \[3, 256\] instead of \[2, 256\]"):
        load_external(config)
    save_file(timm.create_model(ARCHITECTURE, num_classes=0).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="2 missing: weight, bias"):
        load_external(config)


def a_snapshot(folder: Path, network: ClassifierNetwork) -> Path:
    config = ClassifierConfig(architecture=ARCHITECTURE, size_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    header = ClassifierHeader(config=config, preprocessing=PREPROCESSING, classes=CLASSES)
    raw = {key.replace(".", "/", 1): tensor for key, tensor in network.state_dict().items()}
    return write_snapshot(folder, 64, 1.0, raw, None, header.as_json()).path


def test_a_snapshot_of_our_own_training_is_used_as_it_was_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = new_network(ARCHITECTURE, 32, 3)
    path = a_snapshot(tmp_path, network)
    stated = ExternalConfig(
        file=path, architecture=ARCHITECTURE, classes=CLASSES, preprocessing=Preprocessing(size_px=32)
    )
    found = load_external(stated)
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(PREPROCESSING(IMAGES).copy()))
    np.testing.assert_allclose(found.probabilities(IMAGES), torch.softmax(logits, dim=1).numpy(), atol=1e-6)
    assert (found.classes, found.name) == (CLASSES, "epoch-0001")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architecture": "resnet18"}, "architecture = 'test_efficientnet', got 'resnet18'"),
        ({"classes": CLASSES[::-1]}, "classes = ('neutrophil', 'lymphocyte', 'blast'), got ('blast',"),
        ({"preprocessing": Preprocessing(size_px=64)}, "preprocessing.size_px = 32, got 64"),
        ({"preprocessing": Preprocessing(size_px=32, mean=(0.1, 0.5, 0.5))}, "preprocessing.mean = (0.5, 0.5, 0.5)"),
    ],
)
def test_what_is_stated_of_a_snapshot_must_be_what_it_says(
    tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    path = a_snapshot(tmp_path, new_network(ARCHITECTURE, 32, 3))
    right = {"architecture": ARCHITECTURE, "classes": CLASSES, "preprocessing": Preprocessing(size_px=32)}
    with pytest.raises(ModelError, match=re.escape(told)):
        load_external(ExternalConfig.model_validate({"file": path, **right, **changes}))


def test_the_snapshot_of_a_translator_is_no_classifier(small_snapshot: Path) -> None:
    stated = ExternalConfig(file=small_snapshot, architecture=ARCHITECTURE, classes=CLASSES)
    with pytest.raises(ModelError, match="expected the snapshot of a classifier, got that of a translator"):
        load_external(stated)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_an_exported_network_judges_as_it_did_in_pytorch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = a_model()
    torch.onnx.export(
        model,
        (torch.zeros(2, 3, 32, 32),),
        tmp_path / "theirs.onnx",
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("n")},),
    )
    classifier = load_external(onnx_config(tmp_path / "theirs.onnx"))
    assert (classifier.name, classifier.classes) == ("theirs", CLASSES)
    np.testing.assert_allclose(classifier.probabilities(IMAGES), expected_of(model), atol=1e-5)


def test_logits_probabilities_and_a_batch_of_one(tmp_path: Path) -> None:
    means = PREPROCESSING(IMAGES).mean(axis=(2, 3))
    expected = np.exp(means) / np.exp(means).sum(axis=1, keepdims=True)
    logits = load_external(onnx_config(graph(tmp_path / "a.onnx")))
    ready = load_external(onnx_config(graph(tmp_path / "b.onnx", operator="Softmax"), outputs="probabilities"))
    alone = load_external(onnx_config(graph(tmp_path / "c.onnx", batch=1)))
    for classifier in (logits, ready, alone):
        np.testing.assert_allclose(classifier.probabilities(IMAGES), expected, atol=1e-5)
        assert classifier.probabilities(IMAGES[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (lambda p: graph(p, channels=4), {}, r"expected one input, float32\[N, 3, 32, 32\].*\['n', 4, 32, 32\]"),
        (lambda p: graph(p, batch=8), {}, r"\[8, 3, 32, 32\].*free batch size"),
        (lambda p: graph(p, kind=TensorProto.DOUBLE), {}, r"tensor\(double\)"),
        (graph, {"preprocessing": Preprocessing(size_px=48)}, "set preprocessing.size_px"),
        (graph, {"classes": ("a", "b")}, r"expected 2 outputs per cell.*\['n', 3\]"),
    ],
)
def test_an_onnx_file_of_other_shapes_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load_external(onnx_config(make(tmp_path / "a.onnx"), **changes))


def test_an_onnx_network_whose_weights_lie_in_a_second_file_is_used(tmp_path: Path) -> None:
    scale = onnx.numpy_helper.from_array(np.array([1.0, 2.0, 3.0], np.float32), "scale")
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "scale"], ["scores"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 32, 32])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])
    whole = helper.make_graph(nodes, "scaled", [image], [scores], [axes, scale])
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "whole.onnx")
    (tmp_path / "parted").mkdir()
    parted = tmp_path / "parted" / "a.onnx"
    onnx.save(model, parted, save_as_external_data=True, location="a.data", size_threshold=0)
    assert (parted.parent / "a.data").stat().st_size > 0
    expected = load_external(onnx_config(tmp_path / "whole.onnx")).probabilities(IMAGES)
    for content in (None, parted.read_bytes()):
        np.testing.assert_array_equal(load_external(onnx_config(parted), content).probabilities(IMAGES), expected)


def test_logits_that_are_called_probabilities_are_refused(tmp_path: Path) -> None:
    classifier = load_external(onnx_config(graph(tmp_path / "a.onnx"), outputs="probabilities"))
    with pytest.raises(ModelError, match="got other numbers; set outputs = 'logits'"):
        classifier.probabilities(IMAGES)


def test_outputs_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    classifier = load_external(onnx_config(graph(tmp_path / "a.onnx", operator="Log")))
    with pytest.raises(ModelError, match="expected finite outputs"):
        classifier.probabilities(np.zeros_like(IMAGES))


def test_files_that_are_missing_or_no_onnx_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        load_external(onnx_config(tmp_path / "a.onnx"))
    (tmp_path / "a.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="expected an ONNX file that ONNX Runtime opens"):
        load_external(onnx_config(tmp_path / "a.onnx"))


def test_an_onnx_file_is_used_without_pytorch(tmp_path: Path) -> None:
    code = """
import sys, pathlib, numpy as np
from hemabridge.classifiers.config import ExternalConfig
from hemabridge.classifiers.external import load_external
file, preprocessing = pathlib.Path(sys.argv[1]), {"size_px": 32}
classifier = load_external(ExternalConfig(file=file, classes=("a", "b", "c"), preprocessing=preprocessing))
assert classifier.probabilities(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 3)
print(sorted({"torch", "timm"} & sys.modules.keys()))
"""
    found = subprocess.run(
        [sys.executable, "-c", code, str(graph(tmp_path / "a.onnx"))], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"file": "a.onnx", "architecture": "resnet18"}, "expected no architecture for an ONNX file"),
        ({"file": "a.safetensors"}, "or the architecture of a safetensors file"),
        ({"file": "a.onnx", "classes": ("a", "a")}, "expected each once, got a more than once"),
        ({"file": "a.pt", "architecture": "resnet18", "outputs": "probabilities"}, "timm models give logits"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExternalConfig.model_validate({"classes": ("a", "b")} | given)


@pytest.mark.shared
def test_an_onnx_file_whose_softmax_is_inside_gives_no_logits(shared_data: Path) -> None:
    path = shared_data.parent / "cases" / "softmax-inside" / "soft.onnx"
    given = {
        "file": path,
        "classes": ("neutrophil", "eosinophil", "lymphocyte", "monocyte"),
        "preprocessing": Preprocessing(size_px=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    }
    with pytest.raises(ModelError, match="contains the softmax; set outputs = 'probabilities'"):
        load_external(ExternalConfig(**given, outputs="logits")).probabilities(IMAGES)
    found = load_external(ExternalConfig(**given, outputs="probabilities")).probabilities(IMAGES)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-3)
