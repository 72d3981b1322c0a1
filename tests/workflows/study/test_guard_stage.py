"""The morphology guard and the choice of a snapshot in a study and its report."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from hemabridge.data.cells import CellSet
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.evaluation.results import CellVerdict, MorphologyCheck, StudyResults
from hemabridge.guard.thresholds import floors
from hemabridge.models import open_model
from hemabridge.models.guard_file import Guard
from hemabridge.models.selection_file import Selection, SnapshotRow
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.report.report import ChosenSnapshot
from hemabridge.selection.choice_picture import pareto_png
from hemabridge.storage.files import sha256_of
from hemabridge.storage.stages import DONE
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.study.facts import read_chosen
from hemabridge.workflows.study.guard_stage import check
from hemabridge.workflows.study.report_pictures import REFUSED_SHOWN, refused_cells
from hemabridge.workflows.study.restained import Restained
from hemabridge.workflows.study.study import study

GIVEN = (
    '{name = "Given", external = {file = "given.safetensors", architecture = "test_resnet", '
    'classes = ["lymphocyte", "blast", "neutrophil"], preprocessing = {size_px = 32}}}'
)
LEAN = (
    "source_fine_tuning=false",
    f"classifiers=[{GIVEN}]",
    "audit=false",
    "target_parts={train=0.15, validation=0.35, test=0.5}",
)
"""Nothing is trained but the translator; the target keeps 20 cells in two parts: together they make limits."""
HEADING, CHOICE = "<h2>Morphology guard</h2>", "<h2>Which snapshot to use</h2>"


def run(path: Path, out: Path, *changes: str) -> StudyResults:
    recipe = expect_kind(read_recipe(path, [*LEAN, *changes]), StudyRecipe)
    return study(recipe, out, fabric=start_fabric("cpu"))


def page_of(out: Path) -> str:
    return (out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def finished(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyResults]:
    out = tmp_path_factory.mktemp("guarded") / "out"
    return out, run(small_study, out)


def test_every_restaining_is_judged_cell_by_cell(finished: tuple[Path, StudyResults]) -> None:
    out, results = finished
    assert [(c.images, c.snapshot, c.n, c.limits_from) for c in results.guard] == [
        ("white-point", None, 12, 20),
        ("cyclegan", "epoch-0001", 12, 20),
        ("cyclegan", "epoch-0002", 12, 20),
    ]
    for found in results.guard:
        verdicts = [cell.verdict for cell in found.cells]
        assert (found.passed, found.warned, found.refused) == tuple(map(verdicts.count, ("pass", "warn", "refuse")))
        assert [cell.severity > 1 for cell in found.cells] == [verdict == "refuse" for verdict in verdicts]
        assert [bool(cell.reasons) for cell in found.cells] == [verdict != "pass" for verdict in verdicts]
        named = [reason for cell in found.cells if cell.verdict == "refuse" for reason in cell.reasons]
        assert found.reasons == {reason: named.count(reason) for reason in named}
    assert len({cell.id for cell in results.guard[0].cells}) == 12
    assert results.guard[0].refused == 0  # a gain for each channel moves nothing
    schema = json.loads((files("hemabridge.evaluation") / "results.schema.json").read_text(encoding="utf-8"))
    written = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [error.message for error in Draft202012Validator(schema).iter_errors(written)] == []
    assert StudyResults.read(out / "results.json") == results


def test_each_method_has_its_guard_and_standardize_finds_that_of_a_snapshot(
    finished: tuple[Path, StudyResults],
) -> None:
    out = finished[0]
    models = {"white-point": out / "restained" / "white-point" / "normalizer.json"}
    models |= {name: out / "translator" / "snapshots" / f"{name}.safetensors" for name in ("epoch-0001", "epoch-0002")}
    for name, model in models.items():
        guard = Guard.read(out / "guard" / name / "guard.json")
        assert (guard.model, guard.thresholds.cells) == (sha256_of(model), 20)
        assert guard.normalizer() is not None
        assert open_model(model).guard == (None if name == "white-point" else guard)


@pytest.mark.slow
def test_the_report_shows_the_guard_and_without_it_does_not(
    finished: tuple[Path, StudyResults], small_study: Path
) -> None:
    out, results = finished
    before = (out / "guard" / "epoch-0002" / "verdicts.json").stat().st_mtime_ns
    page = page_of(out)
    assert HEADING in page
    assert "Share of refused cells at each tested snapshot" in page
    assert CHOICE not in page
    assert run(small_study, out, "guard=false").guard == ()
    assert HEADING not in page_of(out)
    assert run(small_study, out).guard == results.guard
    assert HEADING in page_of(out)
    assert (out / "guard" / "epoch-0002" / "verdicts.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_color_model_is_called_by_its_name_and_so_is_what_an_earlier_version_kept(
    small_study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    model = "{generator={kind='pixel', conditioned=true, width=4}, discriminator={kind='pixel', channels=8}}"
    changes = (f"translator.model={model}", "tested_epochs=[2]", "normalizers=[]", "audit=false")
    net = '{name="Small net", train={architecture="test_resnet", size_px=32, epochs=1, learning_rate=1e-3}}'
    recipe = expect_kind(read_recipe(small_study, [*changes, f"classifiers=[{net}]"]), StudyRecipe)
    first = study(recipe, out, fabric=start_fabric("cpu"))
    assert {(row.images, row.labels_used) for row in first.rows if row.snapshot} == {("film", 0), ("film", 12)}
    assert {c.images for c in first.guard} == {"film"}
    assert "film, epoch 2" in page_of(out)
    for kept in (
        out / "guard" / "epoch-0002" / "verdicts.json",
        *out.glob("source-fine-tuning/*/epoch-0002/predictions.csv"),
    ):
        kept.write_text(kept.read_text().replace("film", "cyclegan"))
        record = json.loads((kept.parent / DONE).read_text())
        del record["files"]  # which earlier versions did not count
        (kept.parent / DONE).write_text(json.dumps(record))
    assert study(recipe, out, fabric=start_fabric("cpu")) == first


def test_the_choice_of_a_snapshot_joins_the_report(finished: tuple[Path, StudyResults], small_study: Path) -> None:
    out = finished[0]
    assert read_chosen(out) is None
    selection = selection_of(out)
    (out / "selection.json").write_text(selection.to_json())
    (out / "selection.png").write_bytes(pareto_png(selection, 0.5))
    assert read_chosen(out) == ChosenSnapshot("epoch-0002 is best.", (out / "selection.png").read_bytes())
    run(small_study, out)
    page = page_of(out)
    section = page[page.index(CHOICE) :]
    assert "epoch-0002 is best." in section
    assert 'class="chosen" src="data:image/png;base64,' in section
    (out / "selection.png").write_bytes(b"no picture")
    assert read_chosen(out) == ChosenSnapshot("epoch-0002 is best.")
    # A choice that cannot be shown ends no study; the report says why.
    for damaged, told in (
        (replace(selection, snapshots=(replace(selection.snapshots[0], sha256="0" * 64),)).to_json(), "trained again"),
        (selection.to_json().replace("epoch-0002", "epoch-0009"), "trained again"),
        ("{", "cannot be read"),
    ):
        (out / "selection.json").write_text(damaged)
        said = read_chosen(out)
        assert said is not None
        assert told in said.reasons
        assert said.picture is None
    (out / "selection.json").unlink()


def selection_of(out: Path) -> Selection:
    pair = (0.5, 0.9)
    snapshot = out / "translator" / "snapshots" / "epoch-0002.safetensors"
    row = SnapshotRow(
        "epoch-0002",
        sha256_of(snapshot),
        10,
        0.7,
        pair,
        0.7,
        {},
        {},
        0.1,
        pair,
        0.8,
        0.1,
        pair,
        0.9,
        pair,
        fit=True,
        won=1.0,
    )
    original = replace(row, snapshot="original", sha256="", stain=1.0)
    return Selection("small", "epoch-0002", (), "epoch-0002 is best.", original, (row,), (0.0, pair))


@pytest.fixture(scope="module")
def cells() -> CellSet:
    images, labels = simulate_cells(("neutrophil", "lymphocyte"), 8, HOSPITALS["yellow-field"], 4, 64)[:2]
    names = tuple(f"{place:02d}.png" for place in range(16))
    return CellSet(images, np.asarray(labels), ("neutrophil", "lymphocyte"), names, names, 64)


def restained(cells: CellSet, *moved: int) -> Restained:
    """The cells darker; some of them also moved."""
    images = np.rint(255 * (cells.images / 255.0) ** 1.3).astype(np.uint8)
    for place in moved:
        images[place] = np.roll(images[place], 12, axis=1)
    return Restained("made-up", None, Path("none"), cells, replace(cells, images=images), frozenset())


def test_a_cell_that_was_moved_is_refused_and_no_other(cells: CellSet) -> None:
    found = check(cells, restained(cells, 3, 9), floors())
    assert [cell.id for cell in found.cells if cell.verdict == "refuse"] == ["03.png", "09.png"]
    assert (found.n, found.refused, found.limits_from) == (16, 2, 0)


def test_the_gallery_shows_the_worst_of_each_method_first(cells: CellSet) -> None:
    def checked(snapshot: str, severities: dict[int, float]) -> MorphologyCheck:
        said = tuple(
            CellVerdict(name, "refuse" if place in severities else "pass", (), severities.get(place, 0.1))
            for place, name in enumerate(cells.ids)
        )
        few = len(severities)
        return MorphologyCheck("made-up", snapshot, 16, 16 - few, 0, few, {}, 0, said)

    made = {}
    for name in ("a", "b"):
        named = type("Named", (Restained,), {"snapshot_name": name})
        made[name] = named("made-up", None, Path("none"), cells, cells, frozenset())
    many = checked("a", {place: 2.0 + place for place in range(14)})
    few = checked("b", {5: 1.5, 6: 3.0})
    shown = refused_cells(cells, list(made.values()), [many, few])
    assert len(shown) == REFUSED_SHOWN == 12
    listed = [(cell.restained_by[1], cell.id) for cell in shown]
    assert listed == [*(("a", f"{place:02d}.png") for place in range(13, 3, -1)), ("b", "06.png"), ("b", "05.png")]
    assert refused_cells(cells, [], []) == ()
    assert shown[0].true_class == "lymphocyte"
    assert np.array_equal(shown[0].original, cells.images[13])
