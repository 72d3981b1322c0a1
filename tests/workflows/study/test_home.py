"""A study says first, and before it trains anything, that a given classifier fails at its own hospital."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sklearn.linear_model import LogisticRegression

from hemabridge.classifiers.preprocessing import Preprocessing
from hemabridge.data.cells import load_cells
from hemabridge.data.manifest import read_manifest
from hemabridge.evaluation.predictions import Predictions
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.study.classifier_stage import StudyClassifiers
from hemabridge.workflows.study.inputs import StudyInputs

CLASSES = ("neutrophil", "lymphocyte")


@pytest.fixture
def at_home(hospitals: Path, tmp_path: Path) -> Path:
    """An ONNX classifier that tells the classes of clinic-like apart by what squares of 4 px show."""
    manifest = read_manifest(hospitals / "clinic-like" / "manifest.csv")
    cells = load_cells(manifest, classes=CLASSES, size_px=32, crop_px=32)
    means = Preprocessing(size_px=32)(cells.images).reshape(len(cells), 3, 8, 4, 8, 4).mean(axis=(3, 5))
    fitted = LogisticRegression(C=1e4, max_iter=5000).fit(means.reshape(len(cells), -1), cells.labels)
    assert fitted.score(means.reshape(len(cells), -1), cells.labels) == 1
    weights = np.concatenate([-fitted.coef_, fitted.coef_]) / 2
    offset = np.concatenate([-fitted.intercept_, fitted.intercept_]) / 2
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["image"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
            helper.make_node("Flatten", ["pooled"], ["means"]),
            helper.make_node("Gemm", ["means", "weights", "offset"], ["scores"], transB=1),
        ],
        "means",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])],
        [
            onnx.numpy_helper.from_array(weights.astype(np.float32), "weights"),
            onnx.numpy_helper.from_array(offset.astype(np.float32), "offset"),
        ],
    )
    path = tmp_path / "theirs.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def classifiers_of(recipe: Path, file: Path, classes: str, out: Path, said: list[str]) -> StudyClassifiers:
    given = (
        f'{{name = "Theirs", external = {{file = "{file}", classes = {classes}, preprocessing = {{size_px = 32}}}}}}'
    )
    wanted = expect_kind(read_recipe(recipe, (f"classifiers=[{given}]", "source_fine_tuning=false")), StudyRecipe)
    return StudyClassifiers(StudyInputs(wanted, out, start_fabric("cpu"), lambda label, *_: said.append(label)))


def test_a_given_classifier_whose_classes_are_swapped_is_told_at_once(
    small_study: Path, at_home: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    right = classifiers_of(small_study, at_home, '["neutrophil", "lymphocyte"]', tmp_path / "right", said)
    assert right.failing_given() == []
    assert [label for label in said if "Theirs" in label] == []
    wrong = classifiers_of(small_study, at_home, '["lymphocyte", "neutrophil"]', tmp_path / "wrong", said)
    (failure,) = wrong.failing_given()
    assert failure.sentence in said
    assert failure.sentence.startswith("Theirs fails at its own hospital: balanced accuracy")
    assert (failure.site, failure.n) == ("clinic-like", 10)
    explaining = {each.setting for each in failure.explanations if each.explains}
    assert 'classes = ["neutrophil", "lymphocyte"]' in explaining
    assert "source and target exchanged" in {each.setting for each in failure.explanations}


def test_a_trained_classifier_that_guesses_is_told_by_what_it_predicted_at_home(
    small_study: Path, tmp_path: Path
) -> None:
    recipe = expect_kind(read_recipe(small_study), StudyRecipe)
    own = StudyClassifiers(StudyInputs(recipe, tmp_path / "out", start_fabric("cpu"), lambda *_: None))
    truth = np.repeat([0, 1], 5)

    def predicted(name: str, site: str, right: bool) -> Predictions:
        shares = np.eye(2, dtype=np.float32)[truth if right else np.zeros(10, int)]
        return Predictions(site, "test", name, "original", None, 0, tuple("abcdefghij"), truth, shares)

    assert own.failing_trained([predicted("Small net", "clinic-like", True)]) == []
    tests = [
        predicted("Small net", "clinic-like", False),
        predicted("Small net", "yellow-field", False),
        predicted("ensemble", "clinic-like", False),
    ]
    assert [(each.classifier, each.site) for each in own.failing_trained(tests)] == [("Small net", "clinic-like")]
