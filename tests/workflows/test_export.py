"""A model, exported, does the same without PyTorch; and what is changed in a signed file is noticed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from huggingface_hub import ModelCard
from onnx import TensorProto, helper, numpy_helper

from hemabridge.classifiers.external import OnnxClassifier
from hemabridge.deployment.archive import unpack
from hemabridge.errors import InputError, ModelError
from hemabridge.imaging.files import read_image
from hemabridge.models import open_model
from hemabridge.progress import silent
from hemabridge.storage.files import sha256_of
from hemabridge.training.snapshots import write_snapshot
from hemabridge.translators.catalog import new_restainer
from hemabridge.translators.presets import PRESETS
from hemabridge.workflows.adapt.adapted import Adapted
from hemabridge.workflows.adapt.apply import run
from hemabridge.workflows.differential.opened import open_for_count
from hemabridge.workflows.export.export import Exported, export
from hemabridge.workflows.guard import learn_guard
from hemabridge.workflows.verify import verify

NUMBERS = ("probability", "uncertainty")
"""Columns that differ in the last digit: `uncertainty` is the rank of a probability among others."""


def test_a_bundle_of_an_adapted_run_predicts_and_restains_as_the_run(
    exported: Exported, adapted_run: tuple[Path, Adapted], unlabeled: Path, tmp_path: Path
) -> None:
    assert exported.path.name == "from-yellow-field.hemabridge"
    network = open_model(exported.path).classifying.classifier
    assert isinstance(network, OnnxClassifier)
    assert network.mirrored
    run(exported.path, unlabeled, tmp_path / "out")
    own, other = (folder for folder in (tmp_path / "out", adapted_run[0] / "results"))
    first, second = (pl.read_csv(folder / "predictions.csv") for folder in (own, other))
    assert first.drop(NUMBERS).equals(second.drop(NUMBERS))
    for name, tolerance in zip(NUMBERS, (2e-4, 0.1), strict=True):
        np.testing.assert_allclose(first[name].drop_nulls(), second[name].drop_nulls(), atol=tolerance)
    for name in first.filter(pl.col("path") != "damaged.png")["path"]:
        np.testing.assert_array_equal(read_image(own / "restained" / name), read_image(other / "restained" / name))


def test_a_count_of_fields_takes_a_bundle_with_the_confusion_of_its_run(
    exported: Exported, adapted_run: tuple[Path, Adapted]
) -> None:
    found, own = (open_for_count(path, None, None, silent) for path in (exported.path, adapted_run[0]))
    bundle = open_model(exported.path)
    assert found.classifier.at_home == bundle.classifying.at_home != bundle.at_home
    assert found.restainer is not None
    assert found.restainer.kind == "normalizer"
    assert (found.confusion, found.confusion_from) == (own.confusion, own.confusion_from)
    assert sum(map(sum, found.confusion)) == adapted_run[1].home_scored
    with pytest.raises(ModelError, match="expected no --restain"):
        open_for_count(exported.path, exported.path, None, silent)


WITHOUT_TORCH = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm", "lightning_fabric", "onnx", "onnxscript"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import json
from hemabridge.cli import main

for arguments in json.loads(sys.argv[1]):
    sys.argv = ["hemabridge", *arguments]
    try:
        main()
    except SystemExit as ended:
        if ended.code not in (0, 1):
            raise
"""


def without_torch(*commands: tuple[Path | str, ...]) -> str:
    """Run commands where PyTorch cannot be imported, in one interpreter; return what they print."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", WITHOUT_TORCH, json.dumps([list(map(str, each)) for each in commands])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_bundle_runs_and_is_verified_without_pytorch(
    exported: Exported,
    signing_key: Ed25519PrivateKey,
    adapted_run: tuple[Path, Adapted],
    unlabeled: Path,
    tmp_path: Path,
) -> None:
    public = tmp_path / "pub.pem"
    pem = signing_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    public.write_bytes(pem)
    told = without_torch(
        ("verify", exported.path, "--key", public), ("run", exported.path, unlabeled, tmp_path / "out")
    )
    assert "from-yellow-field: re-stains and classifies" in told
    assert "Signature: made with the key" in told
    assert "Test cells: 8, as expected" in told
    assert f"25 images: 24 classified, 0 unknown, 1 failed, 0 withheld: {tmp_path / 'out' / 'predictions.csv'}" in told
    first, second = (
        pl.read_csv(folder / "predictions.csv") for folder in (tmp_path / "out", adapted_run[0] / "results")
    )
    assert first.drop(NUMBERS).equals(second.drop(NUMBERS))


@pytest.mark.slow
def test_a_classifier_and_a_translator_do_the_same_in_a_bundle(
    adapted_run: tuple[Path, Adapted], small_snapshot: Path, hospitals: Path, tmp_path: Path
) -> None:
    folder = hospitals / "yellow-field"
    images = [read_image(path) for path in sorted(folder.rglob("*.png"))]
    snapshot = adapted_run[0] / adapted_run[1].classifier
    classifier = open_model(export(snapshot, tmp_path / "c", images=folder).path)
    own = open_model(snapshot)
    assert classifier.classes == own.classes
    np.testing.assert_allclose(classifier.classify(images).probabilities, own.classify(images).probabilities, atol=1e-4)
    with pytest.raises(ModelError, match="expected a bundle with a model that re-stains, got one without"):
        classifier.standardize(images)
    translator = open_model(export(small_snapshot, tmp_path / "t", images=folder).path)
    one, other = translator.standardize(images), open_model(small_snapshot).standardize(images)
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(one, other, strict=True)) <= 1
    with pytest.raises(ModelError, match="expected a bundle with a classifier, got one without"):
        translator.classify(images)


def test_a_normalizer_keeps_its_guard_and_its_profiles(
    guarded_normalizer: Path, guarded_bundle: Exported, hospitals: Path, tmp_path: Path
) -> None:
    done = guarded_bundle
    assert (done.agreement.gray_levels, done.agreement.probability) == (0, None)
    bundle, own = open_model(done.path), open_model(guarded_normalizer)
    assert bundle.guard == own.guard
    assert bundle.profiles == own.profiles
    assert bundle.profiles is not None
    images = [read_image(path) for path in sorted((hospitals / "pale").rglob("*.png"))] or [
        read_image(path) for path in sorted((hospitals / "truth").rglob("*.png"))
    ]
    for one, other in zip(bundle.standardize(images), own.standardize(images), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ModelError, match="got a bundle, which cannot be changed"):
        learn_guard(done.path, hospitals / "clinic-like")
    with pytest.raises(ModelError, match="got a bundle, which is exported already"):
        export(done.path, tmp_path / "again", images=hospitals / "yellow-field")


def test_no_bundle_is_written_that_differs_from_its_model(
    guarded_normalizer: Path, hospitals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hemabridge.workflows.export.agreement.MAX_GRAY_LEVELS", -1)
    with pytest.raises(ModelError, match="nothing was written"):
        export(guarded_normalizer, tmp_path / "n", images=hospitals / "yellow-field")
    assert list(tmp_path.iterdir()) == []


def test_the_same_model_gives_the_same_bytes_and_no_file_is_replaced(
    guarded_normalizer: Path, guarded_bundle: Exported, photographs: Path, tmp_path: Path
) -> None:
    images = photographs / "yellow-field"
    again = export(guarded_normalizer, tmp_path / "a.zip", images=images, name="n")
    assert again.path.read_bytes() == guarded_bundle.path.read_bytes()
    with pytest.raises(InputError, match="got one that exists"):
        export(guarded_normalizer, tmp_path / "a.zip", images=images)
    with pytest.raises(InputError, match="expected a folder of real images") as refused:
        export(guarded_normalizer, tmp_path / "c")
    assert f"hemabridge export {guarded_normalizer} {tmp_path / 'c'} --images FOLDER" in str(refused.value)


def test_the_card_is_filled_from_the_run_and_read_by_hugging_face(
    exported: Exported, adapted_run: tuple[Path, Adapted]
) -> None:
    adapted = adapted_run[1]
    entries = unpack(exported.path.read_bytes(), exported.path)
    card = ModelCard(entries["card.md"].decode())
    results = card.data.eval_results
    assert results is not None
    assert [(each.metric_type, each.dataset_name) for each in results] == [
        ("balanced_accuracy", "held-out cells of clinic-like"),
        ("agreement_with_ensemble", "cells of flat, without labels"),
    ]
    assert results[0].metric_value == pytest.approx(adapted.home_accuracy, abs=1e-4)
    assert results[0].metric_args["interval_95"] == pytest.approx(adapted.home_interval, abs=1e-4)
    for line in adapted.lines():
        assert line in card.text
    bom = json.loads(entries["bom.json"])
    assert [each["modelCard"]["modelParameters"]["task"] for each in bom["components"]] == [
        "stain normalization",
        "image classification",
    ]
    metric = bom["components"][1]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]
    assert float(metric["confidenceInterval"]["lowerBound"]) == pytest.approx(adapted.home_interval[0], abs=1e-4)


def test_no_image_of_a_hospital_and_no_path_of_this_computer_is_in_a_bundle(
    exported: Exported, adapted_run: tuple[Path, Adapted], unlabeled: Path
) -> None:
    content = exported.path.read_bytes()
    assert str(adapted_run[0]).encode() not in content
    assert b"site-packages" not in content
    own = json.loads(unpack(content, exported.path)["classifier/header.json"])
    assert own["seen"] == []
    hashes = [sha256_of(path) for path in unlabeled.iterdir()]
    assert [each for each in hashes if each.encode() in content] == []


def test_each_region_of_a_signed_bundle_that_is_changed_is_noticed(
    exported: Exported, signing_key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    """Without the key by the hashes, except for the signature itself; with the key everywhere."""
    content = exported.path.read_bytes()
    path = tmp_path / "changed.hemabridge"
    for place in [*range(0, len(content) - 64, len(content) // 80), len(content) - 65]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ModelError, match=r"expected"):
            open_model(path)
        with pytest.raises(ModelError, match=r"was changed|without a signature"):
            verify(path, signing_key.public_key())
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert verify(path).test_cells.is_same
    with pytest.raises(ModelError, match="was changed or is signed by another"):
        verify(path, signing_key.public_key())


def test_a_name_that_no_bundle_may_have_is_refused_before_the_work(guarded_normalizer: Path, tmp_path: Path) -> None:
    for name in ("n" * 201, "two\nlines"):
        with pytest.raises(InputError, match="expected 1 to 200 printable characters in --name"):
            export(guarded_normalizer, tmp_path / "n", name=name)


def test_the_onnx_file_of_another_program_goes_into_a_bundle_unchanged(hospitals: Path, tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.array([[1, -1], [0, 2], [3, 0]], np.float32), "w")
    shape = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["y"]),
        ],
        "net",
        [shape("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [shape("y", TensorProto.FLOAT, ["n", 2])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    theirs = tmp_path / "theirs.onnx"
    theirs.write_bytes(model.SerializeToString())
    described = tmp_path / "theirs.toml"
    described.write_text(
        'file = "theirs.onnx"\nclasses = ["lymphocyte", "neutrophil"]\npreprocessing = { size_px = 32 }\n',
        encoding="utf-8",
    )
    folder = hospitals / "yellow-field"
    done = export(described, tmp_path / "b", images=folder, crop_px=24)
    assert unpack(done.path.read_bytes(), done.path)["classifier/network.onnx"] == theirs.read_bytes()
    images = [read_image(path) for path in sorted(folder.rglob("*.png"))]
    expected = open_model(described, crop_px=24).classify(images)
    found = open_model(done.path).classify(images)
    assert found.classes == expected.classes
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["film", "pixel", "lut", "bilateral", "colorization-cpu"])
def test_a_network_of_each_kind_of_color_model_does_the_same_in_a_bundle(
    preset: str, hospitals: Path, tmp_path: Path
) -> None:
    config = PRESETS[preset].config
    torch.manual_seed(1)
    network = new_restainer(config.model)
    with torch.no_grad():
        for weight in network.parameters():
            if not weight.any():  # it begins as the identity, which would not show a wrong export
                weight.normal_(0, 0.05)
    raw = {f"to_target/{key}": tensor for key, tensor in network.state_dict().items()}
    about = {"kind": "translator", "config": config.model_dump(mode="json"), "source_crop_px": 24, "seen": []}
    snapshot = write_snapshot(tmp_path / "snapshots", 8, 1.0, raw, None, about).path
    folder = hospitals / "yellow-field"
    bundle, own = open_model(export(snapshot, tmp_path / "b", images=folder).path), open_model(snapshot)
    photograph = np.tile(read_image(next(folder.rglob("*.png"))), (2, 3, 1))  # of another size than while it was traced
    one, other = (model.standardize(photograph[None])[0].astype(int) for model in (bundle, own))
    assert np.abs(one - other).max() <= 1
    assert np.abs(one - photograph).max() > 1
