import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hemabridge.data.index import index_folder
from hemabridge.data.manifest import Manifest, make_manifest
from hemabridge.data.splits import check_split, find_leaks, split
from hemabridge.errors import SplitError

PARTS = {"train": 0.6, "validation": 0.2, "test": 0.2}
CLASSES = ("eosinophil", "lymphocyte", "neutrophil")


def digest(number: int) -> str:
    return f"{number:064x}"


def manifest_of(contents: list[int], classes: list[str], patients: list[str] | None = None) -> Manifest:
    """Return a manifest without files: `contents` stands for what the files hold."""
    count = len(contents)
    columns = {
        "path": [f"{number}.png" for number in range(count)],
        "site": ["here"] * count,
        "class": classes,
        "sha256": [digest(content) for content in contents],
        "patient": patients or [""] * count,
    }
    return make_manifest(columns, Path())


def sides(manifest: Manifest, column: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for key, part in zip(manifest.column(column), manifest.column("split"), strict=True):
        found[key].add(part)
    return found


def parts_by_path(manifest: Manifest) -> dict[str, str]:
    return dict(zip(manifest.column("path"), manifest.column("split"), strict=True))


@st.composite
def grouped(draw: st.DrawFn) -> Manifest:
    """Patients of 1 to 12 cells of any classes, some cells copied within and between patients."""
    n_patients = draw(st.integers(12, 30))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    patients = [f"p{patient}" for patient in range(n_patients) for _ in range(rng.integers(3, 12))]
    contents = list(range(len(patients)))
    for _ in range(draw(st.integers(0, 2))):
        contents[rng.integers(len(contents))] = contents[rng.integers(len(contents))]
    classes = [CLASSES[i % len(CLASSES)] for i in range(len(patients))]
    return manifest_of(contents, classes, patients)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(manifest=grouped(), seed=st.integers(0, 100), order=st.randoms(use_true_random=False))
def test_no_patient_and_no_copy_is_on_two_sides_and_row_order_does_not_matter(
    manifest: Manifest, seed: int, order: random.Random
) -> None:
    done = split(manifest, PARTS, seed=seed)
    for column in ("patient", "sha256"):
        assert {key: parts for key, parts in sides(done, column).items() if len(parts) > 1} == {}
    check_split(done)
    rows = list(range(len(manifest)))
    order.shuffle(rows)
    shuffled = Manifest(manifest.table[rows], manifest.root)
    assert parts_by_path(split(shuffled, PARTS, seed=seed)) == parts_by_path(done)


@settings(max_examples=40)
@given(
    counts=st.lists(st.integers(5, 60), min_size=1, max_size=3),
    share=st.floats(0.1, 0.8),
    seed=st.integers(0, 1000),
)
def test_single_cells_meet_each_fraction_of_each_class_to_one_cell(counts: list[int], share: float, seed: int) -> None:
    fractions = {"train": share, "validation": (1 - share) / 2, "test": (1 - share) / 2}
    classes = [name for name, n in zip(CLASSES, counts, strict=False) for _ in range(n)]
    done = split(manifest_of(list(range(len(classes))), classes), fractions, seed=seed)
    found = Counter(zip(done.column("class"), done.column("split"), strict=True))
    for name, total in zip(CLASSES, counts, strict=False):
        for part, fraction in fractions.items():
            assert found[name, part] >= 1
            assert abs(found[name, part] - fraction * total) <= 1 + 1e-9


def test_patients_meet_the_fractions_approximately() -> None:
    rng = np.random.default_rng(0)
    patients = [f"p{patient}" for patient in range(60) for _ in range(rng.integers(5, 30))]
    classes = list(rng.choice(CLASSES, size=len(patients), p=(0.1, 0.3, 0.6)))
    done = split(manifest_of(list(range(len(patients))), classes, patients), PARTS, seed=3)
    found = Counter(zip(done.column("class"), done.column("split"), strict=True))
    for name in CLASSES:
        for part, fraction in PARTS.items():
            assert found[name, part] / classes.count(name) == pytest.approx(fraction, abs=0.06)


def test_the_seed_changes_the_split_and_nothing_else_does() -> None:
    manifest = manifest_of(list(range(90)), list(CLASSES) * 30)
    first = parts_by_path(split(manifest, PARTS, seed=1))
    assert parts_by_path(split(manifest, PARTS, seed=1)) == first
    assert parts_by_path(split(manifest, PARTS, seed=2)) != first


def test_each_part_gets_a_cell_of_a_rare_class() -> None:
    manifest = manifest_of(list(range(3)), ["eosinophil"] * 3)
    fractions = {"train": 0.9, "validation": 0.05, "test": 0.05}
    assert sorted(split(manifest, fractions, seed=0).column("split")) == ["test", "train", "validation"]


def test_refuses_a_part_without_a_class() -> None:
    manifest = manifest_of(list(range(12)), ["neutrophil"] * 10 + ["basophil"] * 2)
    with pytest.raises(SplitError, match="class 'basophil' of site 'here'"):
        split(manifest, PARTS, seed=0)


@pytest.mark.parametrize(
    ("fractions", "told"),
    [
        ({}, "at least two"),
        ({"train": 1.0}, "at least two"),
        ({"train": 0.5, "test": 0.6}, "sum to 1"),
        ({"train": 1.2, "test": -0.2}, "above 0"),
        ({"train": float("nan"), "test": 0.5}, "sum to 1"),
    ],
    ids=["none", "one", "sum", "negative", "nan"],
)
def test_refuses_wrong_fractions(fractions: dict[str, float], told: str) -> None:
    with pytest.raises(SplitError, match=told):
        split(manifest_of(list(range(10)), ["a"] * 10), fractions, seed=0)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("trian", "got 'trian'; did you mean 'train'"),
        ("Train", "got 'Train'; did you mean 'train'"),
        ("val", "got 'val'; did you mean 'validation'"),
        ("valid", "got 'valid'; did you mean 'validation'"),
        ("training", "got 'training'; did you mean 'train'"),
        ("other", "got 'other'$"),
        (" ", "got ' '"),
    ],
)
def test_refuses_a_part_that_nothing_reads_and_names_the_nearest(name: str, told: str) -> None:
    with pytest.raises(SplitError, match=f"expected the parts train, validation and test, {told}"):
        split(manifest_of(list(range(10)), ["a"] * 10), {name: 0.7, "test": 0.3}, seed=0)


def test_auto_takes_patients_else_slides_and_refuses_half_of_them() -> None:
    classes = ["a"] * 40
    slides = [str(number // 4) for number in range(40)]
    slide_only = manifest_of(list(range(40)), classes)
    slide_only = Manifest(slide_only.table.with_columns(pl.Series("slide", slides)), slide_only.root)
    assert all(len(parts) == 1 for parts in sides(split(slide_only, PARTS, seed=0), "slide").values())
    half = manifest_of(list(range(40)), classes, ["p"] + [""] * 39)
    with pytest.raises(SplitError, match="got 1 of 40"):
        split(half, PARTS, seed=0)
    assert len(split(half, PARTS, seed=0, group="none")) == 40
    with pytest.raises(SplitError, match="expected the slide of every image"):
        split(half, PARTS, seed=0, group="slide")


def test_the_same_patient_number_at_two_sites_is_two_patients() -> None:
    manifest = manifest_of(list(range(80)), ["a"] * 80, [str(number % 10) for number in range(80)])
    sites = pl.Series("site", ["x"] * 40 + ["y"] * 40)
    done = split(Manifest(manifest.table.with_columns(sites), manifest.root), PARTS, seed=0)
    check_split(done)
    parts = sides(done, "patient")
    assert max(len(found) for found in parts.values()) > 1


def test_images_that_belong_together_stay_together() -> None:
    manifest = manifest_of(list(range(60)), ["a"] * 60)
    twins = [(f"{number}.png", f"{number + 30}.png") for number in range(30)]
    done = parts_by_path(split(manifest, PARTS, seed=5, together=twins))
    assert [pair for pair in twins if done[pair[0]] != done[pair[1]]] == []
    with pytest.raises(SplitError, match=r"x\.png"):
        split(manifest, PARTS, seed=5, together=[("1.png", "x.png")])


@pytest.mark.parametrize(("column", "kind"), [("patient", "patient"), ("slide", "slide"), ("sha256", "file")], ids=str)
def test_check_split_finds_each_kind_of_leak(column: str, kind: str) -> None:
    manifest = manifest_of([0, 1, 2], ["a"] * 3)
    shared = pl.Series(column, [digest(7), digest(7), digest(8)])
    leaking = manifest.table.with_columns(shared, pl.Series("split", ["train", "test", "test"]))
    assert [(leak.kind, leak.parts, leak.paths) for leak in find_leaks(Manifest(leaking, manifest.root))] == [
        (kind, ("test", "train"), ("0.png", "1.png"))
    ]
    with pytest.raises(SplitError, match=f"{kind} .* in test and train"):
        check_split(Manifest(leaking, manifest.root))
    if kind != "file":
        check_split(Manifest(leaking, manifest.root), group="none")
    unplaced = leaking.with_columns(pl.Series("split", ["train", "", "test"]))
    check_split(Manifest(unplaced, manifest.root))


@pytest.mark.shared
def test_the_two_copies_in_the_tecom_images_stay_together(shared_data: Path) -> None:
    manifest = index_folder(shared_data / "tecom", "tecom").manifest.select(pl.col("class") != "basophil")
    for seed in range(5):
        done = parts_by_path(split(manifest, PARTS, seed=seed))
        assert done["lymphocyte/112.bmp"] == done["lymphocyte/139.bmp"]


def test_a_few_unlabeled_images_need_not_be_in_every_part() -> None:
    classes = ["a"] * 20 + ["b"] * 20 + [""]
    table = make_manifest(
        {
            "path": [f"{i}.png" for i in range(41)],
            "site": ["s"] * 41,
            "class": classes,
            "sha256": [f"{i:064x}" for i in range(41)],
        },
        Path("images"),
    )
    done = split(table, {"train": 0.5, "test": 0.5}, seed=0)
    assert sorted(done.column("split")).count("train") in {20, 21}
