import hashlib
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hemabridge.data.manifest import make_manifest, read_manifest
from hemabridge.errors import ManifestError, RecipeError
from hemabridge.imaging.files import read_image
from hemabridge.imaging.provenance import SyntheticOrigin, read_origin
from hemabridge.models import open_model
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.synthesis import SynthesisRecipe
from hemabridge.storage.files import sha256_of
from hemabridge.storage.stages import DONE
from hemabridge.synthesis.pair_results import SynthesisResults
from hemabridge.training.run_context import start_fabric
from hemabridge.training.snapshots import list_snapshots
from hemabridge.training.tensorfile import read_header
from hemabridge.workflows.synthesis.inputs import with_merged
from hemabridge.workflows.synthesis.synthesize import shown_snapshots, synthesize

SIMULATED = """[simulate]
n_per_class = 24
size_px = 32
seed = 4
"""
SMALL = (
    """
kind = "synthesis"
name = "small"
pairs = [{ source = "lymphocyte", target = "blast" }]
parts = { train = 0.5, validation = 0.25, test = 0.25 }
shown_cells = 3
shown_snapshots = 2

"""
    + SIMULATED
    + """
[translator]
preset = "synthesis-cpu"
load_px = 36
crop_px = 32
epoch_images = 4
constant_epochs = 2
decay_epochs = 1
snapshot_every_epochs = 1
model = { generator = { channels = 4, blocks = 1 }, discriminator = { channels = 4, layers = 1 } }

[scorer]
architecture = "test_resnet"
size_px = 32
epochs = 1
learning_rate = 1e-3

[second]
architecture = "test_resnet"
size_px = 32
epochs = 1
learning_rate = 1e-3
"""
)


class CutError(Exception):
    """Stands for whatever ends a process in the middle of a run."""


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def recipe_of(path: Path, *changes: str) -> SynthesisRecipe:
    return expect_kind(read_recipe(path, changes), SynthesisRecipe)


def run(path: Path, out: Path, *changes: str, cut_at: str | None = None) -> tuple[SynthesisResults, set[str]]:
    """Run a synthesis; return also the labels of its progress. Stop where `cut_at` begins a label."""
    labels: set[str] = set()

    def listen(label: str, _done: int, _total: int) -> None:
        labels.add(label)
        if cut_at is not None and label.startswith(cut_at):
            raise CutError

    return synthesize(recipe_of(path, *changes), out, fabric=start_fabric("cpu"), progress=listen), labels


@pytest.fixture(scope="module")
def finished(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory, reads: Any) -> tuple[Path, SynthesisResults]:
    out = tmp_path_factory.mktemp("synthesis") / "out"
    with reads("synthesize"):
        return out, run(recipe_file, out)[0]


def cells_of(out: Path) -> Path:
    """Return the folder of the simulated cells."""
    return out / "simulated" / "clinic-like" / "cells" / "clinic-like"


def done_times(out: Path) -> dict[str, int]:
    return {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in out.rglob(DONE)}


def without_times(results: SynthesisResults) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(results.to_json())
    data["facts"] = {key: value for key, value in data["facts"].items() if not key.startswith("seconds, ")}
    return data


def test_both_directions_are_measured_on_held_out_cells(finished: tuple[Path, SynthesisResults]) -> None:
    out, results = finished
    (pair,) = results.pairs
    assert (pair.name, results.site) == ("lymphocyte-blast", "clinic-like")
    assert pair.cells == {name: {"train": 12, "validation": 6, "test": 6} for name in ("lymphocyte", "blast")}
    assert [(d.direction, d.source_class, d.intended_class) for d in pair.directions] == [
        ("to_target", "lymphocyte", "blast"),
        ("to_source", "blast", "lymphocyte"),
    ]
    for found in pair.directions:
        assert [check.snapshot for check in found.checks] == ["epoch-0001", "epoch-0002", "epoch-0003"]
        assert {share.n for share in (found.intended, found.intended_real, found.intended_source, found.second)} == {6}
        assert (found.copies.training, found.copies.synthetic.n, found.copies.real.n) == (24, 6, 6)
        assert found.model_sha256 == sha256_of(
            out / pair.name / "translator" / "snapshots" / f"{found.snapshot}.safetensors"
        )
    assert SynthesisResults.read(out / "results.json") == results


@pytest.mark.parametrize("direction", ["to_target", "to_source"])
def test_each_picture_carries_its_origin_in_file_and_manifest(
    finished: tuple[Path, SynthesisResults], direction: str
) -> None:
    out, results = finished
    found = next(d for d in results.pairs[0].directions if d.direction == direction)
    folder = out / "lymphocyte-blast" / direction
    manifest = read_manifest(folder / "manifest.csv")
    site = read_manifest(out / "split" / "clinic-like" / "manifest.csv", cells_of(out))
    held_out = site.select((pl.col("split") == "test") & (pl.col("class") == found.source_class))
    assert len(manifest) == len(list(folder.glob("*.png"))) == 6
    assert set(manifest.column("class")) == {found.intended_class}
    assert set(manifest.column("split")) == {""}
    origins = [read_origin(path) for path in manifest.paths()]
    assert {origin.source_sha256 for origin in origins if origin} == set(held_out.column("sha256"))
    assert [origin and origin.as_text() for origin in origins] == manifest.column("origin")
    assert origins[0] == SyntheticOrigin(found.model_sha256, held_out.column("sha256")[0], "small")


def test_the_pictures_are_what_the_chosen_generator_makes_of_the_sources(
    finished: tuple[Path, SynthesisResults],
) -> None:
    out, results = finished
    found = results.pairs[0].directions[0]
    snapshot = out / "lymphocyte-blast" / "translator" / "snapshots" / f"{found.snapshot}.safetensors"
    generator = open_model(snapshot).cell_standardizer()
    for path in sorted((out / "lymphocyte-blast" / "to_target").glob("*.png"))[:2]:
        source = read_image(cells_of(out) / path.name.replace("__", "/"))
        alone = generator.standardize(source[None])[0]  # others beside it may round a value the other way
        np.testing.assert_allclose(alone.astype(int), read_image(path).astype(int), atol=1)


def test_neither_generators_nor_classifiers_saw_a_cell_that_is_scored(finished: tuple[Path, SynthesisResults]) -> None:
    out, _ = finished
    site = read_manifest(out / "split" / "clinic-like" / "manifest.csv", cells_of(out))
    train = set(site.select(pl.col("split") == "train").column("sha256"))
    for run_folder in ("lymphocyte-blast/translator", "lymphocyte-blast/scorer", "second"):
        assert set(read_header(list_snapshots(out / run_folder)[-1].path)["seen"]) == train


def test_each_model_is_opened_and_hashed_once(finished: tuple[Path, SynthesisResults], reads: Any) -> None:
    files = list(finished[0].rglob("snapshots/*.safetensors"))
    assert len(files) == 5  # three of the translator, and two classifiers
    reads.check_once("synthesize", *files)


def test_a_second_call_does_nothing_again(
    finished: tuple[Path, SynthesisResults], recipe_file: Path, tmp_path: Path, reads: Any
) -> None:
    out = Path(shutil.copytree(finished[0], tmp_path / "out"))
    before = done_times(out)
    with reads("synthesize, a second time"):
        results, labels = run(recipe_file, out)
    reads.check_once("synthesize, a second time", *(out / "second" / "snapshots").iterdir())
    assert done_times(out) == before
    assert not [label for label in labels if "training" in label or "simulating" in label]
    assert without_times(results) == without_times(finished[1])


@pytest.mark.slow
@pytest.mark.parametrize("cut_at", ["simulating", "second", "lymphocyte-blast/scorer", "lymphocyte-blast: training"])
def test_a_cut_run_goes_on_to_the_same_results(
    finished: tuple[Path, SynthesisResults], recipe_file: Path, tmp_path: Path, cut_at: str
) -> None:
    with pytest.raises(CutError):
        run(recipe_file, tmp_path / "out", cut_at=cut_at)
    results, _ = run(recipe_file, tmp_path / "out")
    assert without_times(results) == without_times(finished[1])


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.images = 0
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.images += tag == "img"
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_has_a_page_for_each_pair_with_grids_and_the_warning(
    finished: tuple[Path, SynthesisResults],
) -> None:
    page = _Page()
    page.feed((finished[0] / "report.html").read_text(encoding="utf-8"))
    assert page.ids == ["pair-1"]
    assert "Never put synthetic cells into a validation or test part" in page.text
    # For each direction: sources, twice two epochs, real cells (3 each); a figure; at most 6 nearest pairs.
    grids = 3 * (1 + 2 * 2 + 1)
    assert 2 * (grids + 1) < page.images <= 2 * (grids + 1 + 2 * 6)


def test_a_recipe_says_what_is_wrong_with_it(recipe_file: Path) -> None:
    for change, told in (
        ('site={site="x", folder="y"}', "expected either site or simulate"),
        ('pairs=[{source="a", target="a"}]', "expected two different classes"),
        ('pairs=[{source="a b", target="c"}, {source="a_b", target="c"}]', "expected each pair once"),
        ("parts={train=0.5, test=0.5}", "expected the parts train, validation and test"),
        ('translator={preset="colorization-cpu"}', "which learns both directions"),
        ('merged={a=["b"], c=["b"]}', "expected each class to be merged into one other"),
    ):
        with pytest.raises(RecipeError, match=told):
            recipe_of(recipe_file, change)


def test_too_few_cells_or_a_missing_class_are_named(recipe_file: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError, match="at least 5 cells of each class in each of train, validation, test, got 2 of"
    ):
        run(recipe_file, tmp_path / "out", "simulate.n_per_class=10", "parts={train=0.6, validation=0.2, test=0.2}")
    manifest = make_manifest({"path": ["a.png", "b.png"], "site": ["s", "s"], "class": ["blast", "old"]}, tmp_path)
    with pytest.raises(ManifestError, match=r"got none of \['lymphocyte'\]; the site has \['blast', 'old'\]"):
        with_merged(manifest, recipe_of(recipe_file))


def test_merged_classes_count_as_one(recipe_file: Path, tmp_path: Path) -> None:
    names = ["blast", "small", "large", "lymphocyte", "other"]
    manifest = make_manifest({"path": [f"{name}.png" for name in names], "site": ["s"] * 5, "class": names}, tmp_path)
    recipe = recipe_of(recipe_file, 'merged={lymphocyte=["small", "large"]}')
    merged = with_merged(manifest, recipe).column("class")
    assert merged == ["blast", "lymphocyte", "lymphocyte", "lymphocyte", "other"]


def test_a_manifest_split_into_other_parts_is_refused(
    finished: tuple[Path, SynthesisResults], recipe_file: Path, tmp_path: Path
) -> None:
    cells = cells_of(finished[0])
    split = (finished[0] / "split" / "clinic-like" / "manifest.csv").read_text().replace("validation", "train")
    (tmp_path / "manifest.csv").write_text(split)
    site = f'[site]\nsite = "clinic-like"\nmanifest = "{tmp_path / "manifest.csv"}"\nroot = "{cells}"\n'
    path = tmp_path / "own.toml"
    path.write_text(SMALL.replace(SIMULATED, site), encoding="utf-8")
    with pytest.raises(ManifestError, match="0 of lymphocyte in validation; 0 of blast in validation"):
        run(path, tmp_path / "out")


def test_the_chosen_snapshot_is_always_shown(finished: tuple[Path, SynthesisResults]) -> None:
    snapshots = list_snapshots(finished[0] / "lymphocyte-blast" / "translator")
    many = [*snapshots, *snapshots, *snapshots]
    for chosen in snapshots:
        assert chosen in shown_snapshots(many, 2, chosen)
        assert len(shown_snapshots(snapshots, 2, chosen)) == 2
    assert shown_snapshots(snapshots, 9, snapshots[0]) == snapshots


def test_a_finished_run_tells_hashes_of_what_it_scored(finished: tuple[Path, SynthesisResults]) -> None:
    manifest = read_manifest(finished[0] / "lymphocyte-blast" / "to_target" / "manifest.csv")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in manifest.paths()]
    assert manifest.column("sha256") == digests


WITH_LEARNING_CURVE = (
    SMALL
    + """
[learning_curve]
rare = "blast"
source = "lymphocyte"
real = [2, 3]
seeds = [0, 1]
arms = ["nothing", "oversampled", "synthetic", "real"]
added = 4
common_cells = 8
test_cells = 5
images = 16
classifier = { architecture = "test_resnet", size_px = 32, epochs = 1, learning_rate = 1e-3, batch_size = 8 }

[learning_curve.generator]
load_px = 36
crop_px = 32
epoch_images = 4
constant_epochs = 1
decay_epochs = 0
model = { generator = { channels = 4, blocks = 1 }, discriminator = { channels = 4, layers = 1 } }
watchdog = { on_fault = "ignore" }
"""
)


@pytest.mark.slow
def test_a_rare_class_curve_is_measured_and_shown_if_the_recipe_asks(
    finished: tuple[Path, SynthesisResults], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished[0], out)
    before = done_times(out)
    (tmp_path / "learning-curve.toml").write_text(WITH_LEARNING_CURVE, encoding="utf-8")
    results, labels = run(tmp_path / "learning-curve.toml", out)
    assert results.learning_curve is not None
    assert [(row.real, row.arm) for row in results.learning_curve.rows] == [
        (real, arm) for real in (2, 3) for arm in ("nothing", "oversampled", "synthetic", "real")
    ]
    assert results.learning_curve.test_cells == {"lymphocyte": 5, "blast": 5}
    assert SynthesisResults.read(out / "results.json") == results
    assert {name: when for name, when in done_times(out).items() if name in before} == before
    assert any(label.startswith("learning curve: 2 real cells, synthetic (seed 1)") for label in labels)
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "Rare-class learning curve: synthetic cells of blast as training data" in html
    assert "seconds, learning curve" not in html
    assert html.count('<th scope="row">2</th>') == 4
    assert "What synthetic cells of blast" not in (finished[0] / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["rare", "source"])
def test_a_curve_of_a_class_that_no_pair_has_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "learning-curve.toml").write_text(WITH_LEARNING_CURVE, encoding="utf-8")
    with pytest.raises(RecipeError, match="among the classes of the pairs"):
        recipe_of(tmp_path / "learning-curve.toml", f'learning_curve.{name}="eosinophil"')
