"""The paper's blocks from start to end at the smallest size, and the page that compares them with the paper."""

import contextlib
import io
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from hemabridge.data.manifest import read_manifest
from hemabridge.evaluation.results import StudyResults
from hemabridge.imaging.files import read_image
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.storage.stages import DONE
from hemabridge.synthesis.pair_results import SynthesisResults

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "paper.md"
PAPERS: Final = ("epoch-0010", "epoch-0015", "epoch-0020", "epoch-0025", "epoch-0200")
TESTED: Final = (*PAPERS[:-1], "epoch-0030")
"""The smallest size ends after 30 epochs, not 200."""
DIGITS: Final = {
    "ResNet18": ("0.3152", "0.5869", "0.5326"),
    "ResNet18 focal": ("0.4565", "0.6847", "0.5869"),
    "ResNet34": ("0.2826", "0.5543", "0.5326"),
    "ResNet34 focal": ("0.3043", "0.6739", "0.5326"),
    "ResNet34_NoSIND": ("0.3478", "0.8152", "0.75"),
}
"""Table 4 as it is printed."""


@pytest.fixture(scope="module")
def benchmark() -> Iterator[Any]:
    """The module `benchmarks/paper.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import paper

        yield paper


@pytest.fixture(scope="module")
def tables(benchmark: Any) -> Any:
    """The module `benchmarks/paper_tables.py`."""
    return sys.modules["paper_tables"]


# The paper's numbers.


def test_table_4_is_that_of_the_paper(tables: Any) -> None:
    assert list(tables.TABLE_4) == list(DIGITS)
    for name, counts in tables.TABLE_4.items():
        # The paper cuts digits off in some places and rounds in others.
        for count, printed in zip(counts, DIGITS[name], strict=True):
            assert abs(count / tables.SCORED - float(printed)) <= 1e-4


def test_tables_1_and_2_have_the_papers_sums(tables: Any) -> None:
    def sums(counts: Any) -> Counter[str]:
        return sum((Counter(parts) for parts in counts.values()), Counter())

    assert sums(tables.CLINIC) == {"train": 2331, "validation": 582, "test": 264}
    assert sums(tables.HGTP) == {"train": 92, "test": tables.SCORED}
    assert {name: sum(parts.values()) for name, parts in tables.HGTP.items()} == {
        "abnormal_lymphocyte": 47,
        "reactive_lymphocyte": 57,
        "blast": 80,
    }


def test_figure_5_gives_the_best_accuracy_of_table_4(tables: Any) -> None:
    tests = [tables.HGTP[name]["test"] for name in ("abnormal_lymphocyte", "blast", "reactive_lymphocyte")]
    right = sum(round(tables.FIGURE_5[place][place] * number) for place, number in enumerate(tests))
    assert right == tables.TABLE_4["ResNet34_NoSIND"][1] == 75


def test_the_recipe_has_a_row_for_each_of_table_4(tables: Any) -> None:
    recipe = expect_kind(read_recipe(ROOT / "recipes" / "paper.toml"), StudyRecipe)
    assert [spec.name for spec in recipe.classifiers] == list(tables.TABLE_4)
    assert tuple(f"epoch-{epoch:04d}" for epoch in recipe.tested_epochs) == PAPERS
    assert (recipe.source.crop_px, recipe.target.crop_px, recipe.mode) == ("whole", "whole", "transductive")


def test_the_page_holds_every_number_of_the_paper_and_what_the_full_size_costs(
    tables: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, counts in tables.TABLE_4.items():
        printed = " | ".join(f"{count / tables.SCORED:.4f}" for count in counts)
        assert re.search(rf"^\| {re.escape(name)} \| {re.escape(printed)} \| 0", page, re.MULTILINE), name
    (seconds,) = set(re.findall(r"benchmarks/paper\.py --cost ([\d.]+)", page))
    tables.print_cost(float(seconds))
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| Block")]
    assert len(printed) == 8
    assert [line for line in printed if line not in page] == []
    assert "| Block 1, 200 epochs of 3000 | 600,000 |" in printed[4]


def test_the_page_states_the_reduced_size(benchmark: Any) -> None:
    size, page = benchmark.REDUCED, PAGE.read_text(encoding="utf-8")
    blocks, layers = (
        f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((size.blocks, "block"), (size.layers, "layer"))
    )
    for row in (
        f"| size of images and crops | 286, 256 px | {size.image_px * 286 // 256}, {size.image_px} px |",
        f"| {size.channels} channels, {blocks}, {layers} of the discriminators |",
        f"| steps an epoch, Block 1 | 3,000 | {size.epoch_images} |",
        f"| epochs of Block 1 | 200; 10, 15, 20, 25 and {size.block_1_epochs} tested | the same |",
        f"| {size.block_3_epochs} of {size.block_3_images} |",
        f"`{size.resnet_18}` and `{size.resnet_34}`, from random weights, {size.epochs} epochs |",
        f"`{size.resnet_34}`, trained on {3 * size.earlier} further simulated cells",
    ):
        assert row in page


# All blocks, from start to end.


@pytest.fixture(scope="module")
def finished(benchmark: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a whole run, and what it printed."""
    out, told = tmp_path_factory.mktemp("paper") / "out", io.StringIO()
    with contextlib.redirect_stdout(told):
        benchmark.run_paper(out, benchmark.SMALLEST)
    (out / "printed.txt").write_text(told.getvalue(), encoding="utf-8")
    return out, told.getvalue()


@pytest.fixture(scope="module")
def study(finished: tuple[Path, str]) -> StudyResults:
    return StudyResults.read(finished[0] / "study" / "results.json")


@pytest.mark.slow
def test_every_row_of_table_4_is_there_with_a_figure(study: StudyResults, tables: Any) -> None:
    rows = {
        (row.classifier, row.snapshot): row
        for row in study.rows
        if row.site == "hgtp" and not row.labels_used and (row.snapshot or row.images == "original")
    }
    assert set(rows) == {(name, snapshot) for name in tables.TABLE_4 for snapshot in (None, *TESTED)}
    for (_, snapshot), row in rows.items():
        assert math.isfinite(row.accuracy)
        assert 0 <= row.interval[0] <= row.accuracy <= row.interval[1] <= 1
        assert row.n == 23
        assert row.mode == ("none" if snapshot is None else "transductive")  # the translator saw the scored images
    home = {row.classifier for row in study.rows if row.site == "clinic"}
    assert home == set(tables.TABLE_4)


@pytest.mark.slow
def test_the_cells_are_split_as_tables_1_and_2_say(finished: tuple[Path, str], benchmark: Any, tables: Any) -> None:
    size = benchmark.SMALLEST
    for site, counts in (
        ("clinic", tables.divided(tables.CLINIC, size.clinic)),
        ("hgtp", tables.divided(tables.HGTP, size.hgtp)),
    ):
        settled = read_manifest(finished[0] / "study" / "split" / site / "manifest.csv", finished[0] / site)
        found = Counter(zip(settled.column("class"), settled.column("split"), strict=True))
        assert found == {(name, part): n for name, parts in counts.items() for part, n in parts.items()}


@pytest.mark.slow
def test_all_trained_classifiers_are_fine_tuned_again_on_originals_and_each_epoch(study: StudyResults) -> None:
    again = {(row.classifier, row.snapshot): row for row in study.rows if row.labels_used}
    trained = ("ResNet18", "ResNet18 focal", "ResNet34", "ResNet34 focal")
    assert set(again) == {(name, snapshot) for name in trained for snapshot in (None, *TESTED)}
    assert {row.labels_used for row in again.values()} == {24}
    assert all(math.isfinite(row.accuracy) for row in again.values())


@pytest.mark.slow
def test_figures_4_and_5_are_drawn(finished: tuple[Path, str], study: StudyResults) -> None:
    figure = read_image(finished[0] / "study" / "figure-4.png")
    rows = ("original", "white-point", "reinhard-image", "histogram", "macenko", *TESTED, "target")
    assert figure.shape[0] >= len(rows) * 32
    assert np.ptp(figure) > 100
    report = (finished[0] / "study" / "report.html").read_text(encoding="utf-8")
    assert "What is mistaken for what" in report
    found = next(
        each
        for each in study.confusions
        if (each.classifier, each.snapshot, each.labels_used) == ("ResNet34_NoSIND", "epoch-0015", 0)
    )
    assert found.classes == ("abnormal_lymphocyte", "blast", "reactive_lymphocyte")
    assert [sum(row) for row in found.counts] == [6, 9, 8]


@pytest.mark.slow
def test_block_3_translates_three_pairs_both_ways(finished: tuple[Path, str]) -> None:
    results = SynthesisResults.read(finished[0] / "block-3" / "results.json")
    directions = [(d.source_class, d.intended_class) for pair in results.pairs for d in pair.directions]
    normal = "normal_lymphocyte"
    others = ("smzl", "mcl", "blast")
    assert directions == [way for other in others for way in ((normal, other), (other, normal))]
    for pair in results.pairs:
        for found in pair.directions:
            pictures = list((finished[0] / "block-3" / pair.name / found.direction).glob("*.png"))
            assert len(pictures) == found.intended.n == pair.cells[found.source_class]["test"]
            assert math.isfinite(found.kid.value)
    assert (finished[0] / "block-3" / "report.html").is_file()


@pytest.mark.slow
def test_each_table_is_printed(finished: tuple[Path, str]) -> None:
    for title in ("Tables 1 to 3", "Block 1", "Table 4", "Figure 5", "Fine-tuning again", "Block 3"):
        assert re.search(rf"^{title}.*\n\n\|", finished[1], re.MULTILINE), title
    assert re.search(r"\bnan\b", finished[1]) is None
    assert "hemabridge study" in finished[1]


@pytest.mark.slow
def test_a_second_call_trains_nothing_again(finished: tuple[Path, str], benchmark: Any) -> None:
    out = finished[0]
    before = {path: path.stat().st_mtime_ns for path in out.rglob(DONE)}
    results = json.loads((out / "study" / "results.json").read_text(encoding="utf-8"))
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        benchmark.run_study(out, benchmark.SMALLEST)
    assert len(before) > 50
    assert {path: path.stat().st_mtime_ns for path in out.rglob(DONE)} == before
    assert json.loads((out / "study" / "results.json").read_text(encoding="utf-8"))["rows"] == results["rows"]
