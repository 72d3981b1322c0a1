import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import InputError, ModelError
from hemabridge.guard.thresholds import Thresholds, floors
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.scale import crop_center
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.models import open_model
from hemabridge.models.guard_file import Guard, guard_path
from hemabridge.normalizers.by_subdomain import BySubdomain
from hemabridge.normalizers.catalog import fit_on_cells, normalizer_from_json
from hemabridge.normalizers.color_table import node_colors
from hemabridge.normalizers.normalizer import NO_GLASS, Normalizer
from hemabridge.normalizers.table_normalizer import LearnedLut, as_table
from hemabridge.normalizers.white_point import WhitePoint
from hemabridge.storage.files import sha256_of
from hemabridge.workflows.guard import learn_guard
from hemabridge.workflows.standardize.log import COLUMNS, EARLIER_COLUMNS, LOG
from hemabridge.workflows.standardize.standardize import standardize

CLASSES = ("neutrophil", "lymphocyte")


def write_cells(folder: Path, hospital: str, per_class: int, seed: int) -> list[UInt8Image]:
    cells, _ = simulate_cells(CLASSES, per_class, HOSPITALS[hospital], seed, 48)
    folder.mkdir()
    for number, cell in enumerate(cells):
        write_image(folder / f"{number:02d}.png", cell)
    return list(cells)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images of two hospitals and a normalizer between them."""
    folder = tmp_path_factory.mktemp("made")
    source = write_cells(folder / "in", "yellow-field", 2, 0)
    target = write_cells(folder / "target", "clinic-like", 20, 1)
    fitted = fit_on_cells("linear-ot", np.stack(source), np.stack(target))
    (folder / "linear-ot.json").write_text(fitted.to_json(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def learned(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the guard of that normalizer."""
    return learn_guard(Path(shutil.copy(made / "linear-ot.json", tmp_path_factory.mktemp("guard"))), made / "target")[0]


@pytest.fixture
def images(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "in", tmp_path / "in"))


@pytest.fixture
def target(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "target", tmp_path / "target"))


@pytest.fixture
def normalizer(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made / "linear-ot.json", tmp_path))


@pytest.fixture
def guard(learned: Path, normalizer: Path) -> Path:
    """The file of the guard beside the normalizer."""
    return Path(shutil.copy(learned, guard_path(normalizer)))


def with_limits(path: Path, refuse: float) -> None:
    """Let a guard refuse every cell of which more than `refuse` is left."""
    told = json.loads(path.read_text(encoding="utf-8"))
    told["thresholds"]["limits"]["residual"] = {"warn": min(refuse, 1e-9), "refuse": refuse}
    path.write_text(json.dumps(told), encoding="utf-8")


def log_of(out: Path) -> list[dict[str, str]]:
    with (out / LOG).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def learned_lut() -> Normalizer:
    return LearnedLut(target_white=(255.0, 255.0, 255.0), table=as_table(node_colors()), learned_for="0" * 64)


def of_two_looks() -> Normalizer:
    looks = [simulate_cells(CLASSES, 4, HOSPITALS[name], 0, 48)[0] for name in ("yellow-field", "blue-shifted")]
    fitted = [(images, WhitePoint.fit(images, looks[1])) for images in looks]
    return BySubdomain.of(fitted, looks[1])


@pytest.mark.parametrize("make", [pytest.param(learned_lut, marks=pytest.mark.slow), of_two_looks])
def test_what_no_two_sites_can_fit_gets_limits_from_what_it_does_to_the_target(
    make: Callable[[], Normalizer], images: Path, target: Path, tmp_path: Path
) -> None:
    path = tmp_path / "of-a-study.json"
    path.write_text(make().to_json(), encoding="utf-8")
    written, guard = learn_guard(path, target)
    assert written == guard_path(path)
    assert guard.thresholds.cells == 40
    assert standardize(path, images, tmp_path / "out").count_verdict("pass") == 4


def test_the_guard_of_a_normalizer_lies_beside_it_and_lets_every_cell_pass(
    normalizer: Path, images: Path, target: Path, tmp_path: Path
) -> None:
    path, learned = learn_guard(normalizer, target)
    assert path == guard_path(normalizer) == tmp_path / "linear-ot.guard.json"
    assert open_model(normalizer).guard == learned
    assert learned.thresholds.cells == 20
    done = standardize(normalizer, images, tmp_path / "out")
    assert done.count_verdict("pass") == 4
    rows = log_of(tmp_path / "out")
    assert tuple(rows[0]) == COLUMNS
    assert COLUMNS[5:] == ("verdict", "verdict_reasons", "restained_by", "output_sha256", "remark")
    assert {(row["verdict"], row["verdict_reasons"], row["restained_by"]) for row in rows} == {("pass", "", "model")}


def test_refused_cells_are_re_stained_by_the_fallback(
    normalizer: Path, guard: Path, images: Path, tmp_path: Path
) -> None:
    with_limits(guard, 1e-9)
    done = standardize(normalizer, images, tmp_path / "out")
    assert done.count_verdict("refuse") == 4
    assert {(row.verdict_reasons, row.restained_by) for row in done.rows} == {("residual", "fallback")}
    safer = Guard.read(guard).normalizer()
    assert safer is not None
    # It was fitted on the target alone; the white that an image may have is that of the model's source.
    safer = safer.model_copy(
        update={"source_glass": normalizer_from_json(normalizer.read_text(encoding="utf-8")).source_glass}
    )
    original = read_image(images / "00.png")
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "00.png"), safer.standardize(original[None])[0])


def test_without_a_fallback_refused_cells_are_flagged_alone(
    normalizer: Path, guard: Path, images: Path, tmp_path: Path
) -> None:
    with_limits(guard, 1e-9)
    done = standardize(normalizer, images, tmp_path / "out", fallback="none")
    assert {(row.verdict, row.restained_by) for row in done.rows} == {("refuse", "model")}
    original = read_image(images / "00.png")[None]
    expected = normalizer_from_json(normalizer.read_text(encoding="utf-8")).standardize(original)[0]
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "00.png"), expected)


def test_a_fallback_of_ones_own_and_what_was_made_by_another_is_made_again(
    normalizer: Path, guard: Path, images: Path, target: Path, tmp_path: Path
) -> None:
    with_limits(guard, 1e-9)
    standardize(normalizer, images, tmp_path / "out")
    own = tmp_path / "own.json"
    cells = np.stack([read_image(file) for file in sorted(target.iterdir())])
    own.write_text(fit_on_cells("reinhard-image", cells, cells).to_json(), encoding="utf-8")
    standardize(normalizer, images, tmp_path / "out", fallback=own)
    original = read_image(images / "00.png")[None]
    expected = normalizer_from_json(own.read_text(encoding="utf-8")).standardize(original)[0]
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "00.png"), expected)
    before = (tmp_path / "out" / "00.png").stat().st_mtime_ns
    again = standardize(normalizer, images, tmp_path / "out", fallback=own)
    assert (tmp_path / "out" / "00.png").stat().st_mtime_ns == before
    assert {(row.verdict, row.restained_by) for row in again.rows} == {("refuse", "fallback")}


@pytest.mark.slow
def test_a_translator_is_judged_at_its_own_scale(
    small_snapshot: Path, images: Path, target: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(small_snapshot.read_bytes())
    path, learned = learn_guard(model, target, crop_px=48)
    assert path.name == "model.guard.json"
    # Random weights make noise of every cell; the target's noise allows it.
    assert learned.thresholds.limits["residual"].refuse > floors().limits["residual"].refuse
    done = standardize(model, images, tmp_path / "out", crop_px=48)
    assert sum(done.count_verdict(verdict) for verdict in ("pass", "warn", "refuse")) == 4


def test_a_model_without_a_guard_works_without(normalizer: Path, images: Path, tmp_path: Path) -> None:
    done = standardize(normalizer, images, tmp_path / "out")
    assert {(row.verdict, row.verdict_reasons, row.restained_by) for row in done.rows} == {("", "", "model")}
    with pytest.raises(ModelError, match="expected a model that has a guard"):
        standardize(normalizer, images, tmp_path / "other", fallback=normalizer)
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("guard")
def test_the_guard_of_another_model_is_refused(normalizer: Path, images: Path, tmp_path: Path) -> None:
    other = normalizer_from_json(normalizer.read_text(encoding="utf-8")).model_copy(
        update={"source_mean": (1.0, 2.0, 3.0)}
    )
    normalizer.write_text(other.to_json(), encoding="utf-8")
    with pytest.raises(ModelError, match="got that of another model"):
        standardize(normalizer, images, tmp_path / "out")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 1}', '{"version": 1, "model": "x", "thresholds": {}, "fallback": "y"}']
)
def test_a_damaged_guard_is_refused(text: str, normalizer: Path, images: Path, tmp_path: Path) -> None:
    guard_path(normalizer).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="expected the guard of a model"):
        standardize(normalizer, images, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_fallback_that_is_no_normalizer_is_refused(normalizer: Path, tmp_path: Path) -> None:
    Guard(model="0" * 64, thresholds=floors(), fallback="{}").write(tmp_path / "x.json")
    with pytest.raises(ModelError, match="normalizer"):
        Guard.read(tmp_path / "x.json")


def test_a_guard_there_and_back(tmp_path: Path) -> None:
    limits = Thresholds.from_json(floors().to_json())
    guard = Guard(model="0" * 64, thresholds=limits)
    guard.write(tmp_path / "guard.json")
    assert Guard.read(tmp_path / "guard.json") == guard
    assert guard.normalizer() is None


def test_a_target_without_images_or_with_few_is_refused(normalizer: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, message in (
        (tmp_path / "empty", "readable images"),
        (tmp_path / "no", "got nothing"),
        (images, "at least"),
    ):
        with pytest.raises(InputError, match=message):
            learn_guard(normalizer, folder)
    assert open_model(normalizer).guard is None


@pytest.mark.parametrize("columns", EARLIER_COLUMNS)
def test_a_log_without_verdicts_or_hashes_is_taken_and_its_images_are_made_again(
    normalizer: Path, images: Path, tmp_path: Path, columns: tuple[str, ...]
) -> None:
    standardize(normalizer, images, tmp_path / "out")
    rows = log_of(tmp_path / "out")
    with (tmp_path / "out" / LOG).open("w", newline="", encoding="utf-8") as file:
        log = csv.DictWriter(file, columns, extrasaction="ignore")
        log.writeheader()
        log.writerows(rows)
    (tmp_path / "out" / "00.png").write_bytes(b"cut")
    done = standardize(normalizer, images, tmp_path / "out")
    assert done.count("restained") == 4
    assert tuple(log_of(tmp_path / "out")[0]) == COLUMNS
    assert log_of(tmp_path / "out") == rows
    assert sha256_of(tmp_path / "out" / "00.png") == rows[0]["output_sha256"]


def test_the_fallback_brightens_no_picture_that_shows_no_glass(
    normalizer: Path, guard: Path, images: Path, tmp_path: Path
) -> None:
    with_limits(guard, 1e-9)
    cell = read_image(images / "00.png")
    tight = crop_center(cell, 12)  # of 48: nucleus and cytoplasm
    write_image(images / "tight.png", tight)
    done = standardize(normalizer, images, tmp_path / "out")
    rows = {row.path: row for row in done.rows}
    assert {row.restained_by for row in done.rows} == {"fallback"}
    assert rows["00.png"].remark == ""
    assert rows["tight.png"].remark.endswith(NO_GLASS)
    made = read_image(tmp_path / "out" / "tight.png").astype(int)
    np.testing.assert_allclose(made, crop_center(read_image(tmp_path / "out" / "00.png"), 12), atol=3)
