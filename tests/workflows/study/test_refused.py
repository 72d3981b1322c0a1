import shutil
from pathlib import Path

import numpy as np
import pytest
from run_study import GIVEN, LEAN, Call, recipe_of, run, trained

from hemabridge.data.manifest import read_manifest, write_manifest
from hemabridge.errors import HemabridgeError, ManifestError, ModelError, RunError, SplitError
from hemabridge.recipes.two_sites import with_manifests
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.study.study import study


def test_a_file_at_both_sites_is_refused(small_study: Path, hospitals: Path, tmp_path: Path) -> None:
    """What the classifiers learn on must not be what they are scored on."""
    copies = Path(shutil.copytree(hospitals / "yellow-field", tmp_path / "copies"))
    table = (copies / "manifest.csv").read_text().replace(",yellow-field,", ",copies,")
    (copies / "manifest.csv").write_text(table)
    recipe = with_manifests(recipe_of(small_study, *LEAN), target=copies / "manifest.csv")
    with pytest.raises(
        SplitError, match="expected different images at yellow-field and copies, got 24 that are at both"
    ):
        study(recipe, tmp_path / "out", fabric=start_fabric("cpu"))


def test_files_that_no_study_wrote_are_left_alone(small_study: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out" / "translator" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("keep")
    (tmp_path / "out" / "recipe.toml").touch()  # an earlier study's folder; others are refused before
    with pytest.raises(RunError, match="holds files that no run wrote"):
        run(small_study, tmp_path / "out", *LEAN)
    assert mine.read_text() == "keep"


def after_a_sound_one(classifier: str) -> str:
    sound = '{name = "Sound", train = {architecture = "test_resnet", size_px = 32, epochs = 1, learning_rate = 1e-3}}'
    return f'classifiers=[{sound}, {{name = "A", {classifier}}}]'


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (after_a_sound_one('train = {architecture = "resnet81"}'), ModelError, "did you mean resnet"),
        (after_a_sound_one('train = {weights = "none.safetensors"}'), ModelError, "does not exist"),
        (after_a_sound_one('external = {file = "none.onnx", classes = ["a", "b"]}'), ModelError, "none.onnx"),
        (
            after_a_sound_one(GIVEN.partition(", ")[2].removesuffix("}").replace("neutrophil", "basophil")),
            ModelError,
            "expected a classifier of the classes neutrophil, lymphocyte",
        ),
        ('ensemble={members = [{train = {architecture = "resnet81"}}]}', ModelError, "did you mean resnet"),
        (
            'ensemble={members = [{train = {architecture = "test_resnet", weights = "none.safetensors"}}]}',
            ModelError,
            "does not exist",
        ),
        ('classes=["neutrophil", "blast"]', ManifestError, "got none of 'blast' at the source, 'blast' at the target"),
        ("source.manifest=nowhere.csv", ManifestError, "nowhere.csv"),
        ("target_parts={train = 0.9, test = 0.2}", HemabridgeError, "sum to 1"),
    ],
)
def test_what_cannot_be_had_is_told_before_any_training(
    small_study: Path, tmp_path: Path, change: str, error: type[HemabridgeError], told: str
) -> None:
    calls: list[Call] = []
    with pytest.raises(error, match=told):
        study(recipe_of(small_study, change), tmp_path / "out", progress=lambda *call: calls.append(call))
    assert trained(calls) == set()


def test_a_file_that_is_not_the_one_that_was_indexed_is_told(
    small_study: Path, hospitals: Path, tmp_path: Path
) -> None:
    changed = Path(shutil.copytree(hospitals / "yellow-field", tmp_path / "changed"))
    manifest = read_manifest(changed / "manifest.csv")
    shutil.copy(manifest.paths()[0], manifest.paths()[1])
    recipe = with_manifests(recipe_of(small_study, *LEAN), source=changed / "manifest.csv")
    with pytest.raises(ManifestError, match="expected the file that was indexed"):
        study(recipe, tmp_path / "out", fabric=start_fabric("cpu"))


def test_a_truth_of_other_cells_is_refused(small_study: Path, hospitals: Path, tmp_path: Path) -> None:
    manifest = read_manifest(hospitals / "truth" / "manifest.csv")
    half = manifest.select(np.arange(len(manifest)) % 2 == 0)
    write_manifest(half, tmp_path / "half.csv")
    changes = (f"truth.manifest={tmp_path}/half.csv", f"truth.root={hospitals}/truth")
    with pytest.raises(ManifestError, match="expected the ground truth of the same 12 cells"):
        run(small_study, tmp_path / "out", *LEAN, *changes)


def test_an_unknown_architecture_is_refused_before_any_image_is_read(small_study: Path, tmp_path: Path) -> None:
    """The source's manifest does not exist: a study that reads images first says that instead."""
    unreadable = "source.manifest=nowhere.csv"
    with pytest.raises(ModelError, match="expected the name of a timm model, got 'resnet81'"):
        run(
            small_study,
            tmp_path / "out",
            unreadable,
            'classifiers=[{name = "a", train = {architecture = "resnet81"}}]',
        )
    with pytest.raises(ManifestError, match=r"nowhere\.csv"):
        run(small_study, tmp_path / "out", unreadable)
