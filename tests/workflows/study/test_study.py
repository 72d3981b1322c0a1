import csv
import hashlib
import json
from collections import defaultdict
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from run_study import LEAN, Call, recipe_of, run
from skimage.metrics import peak_signal_noise_ratio
from statsmodels.stats.proportion import proportion_confint

from hemabridge.data.manifest import read_manifest
from hemabridge.errors import RecipeError
from hemabridge.evaluation.results import StudyResults
from hemabridge.imaging.files import read_image
from hemabridge.recipes.recipe_file import read_recipe
from hemabridge.recipes.review import ReviewPlan
from hemabridge.training.snapshots import Snapshot
from hemabridge.training.tensorfile import read_header
from hemabridge.workflows.review.read_arms import arms_of
from hemabridge.workflows.study.translation import snapshots_of


def test_every_row_of_the_papers_table_is_there_once(finished_study: tuple[Path, StudyResults, list[Call]]) -> None:
    rows = [
        (r.classifier, r.site, r.images, r.snapshot, r.labels_used, r.n, r.mode, r.part, r.seed)
        for r in finished_study[1].rows
    ]
    epochs = ("epoch-0001", "epoch-0002")
    expected = []
    for name in ("Small net", "Given (external)"):
        expected.append((name, "clinic-like", "original", None, 0, 10, "none", "test", 0))
        expected.append((name, "yellow-field", "original", None, 0, 12, "none", "test", 0))
        expected.append((name, "yellow-field", "white-point", None, 0, 12, "strict", "test", 0))
        expected += [(name, "yellow-field", "cyclegan", epoch, 0, 12, "strict", "test", 0) for epoch in epochs]
    # Fine-tuned again on the source's 12 labeled training cells; what comes as a file is used as it came.
    expected.append(("Small net", "yellow-field", "original", None, 12, 12, "none", "test", 0))
    expected += [("Small net", "yellow-field", "cyclegan", epoch, 12, 12, "strict", "test", 0) for epoch in epochs]
    assert rows == expected


def test_results_json_keeps_the_published_schema_and_reads_back(
    finished_study: tuple[Path, StudyResults, list[Call]],
) -> None:
    out, results, _ = finished_study
    schema = json.loads((files("hemabridge.evaluation") / "results.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(json.loads((out / "results.json").read_text(encoding="utf-8")), schema)
    assert StudyResults.read(out / "results.json") == results
    assert results.classes == ("neutrophil", "lymphocyte")
    assert [(t.classifier, t.images, t.snapshot, t.labels_used) for t in results.paired] == [
        (r.classifier, r.images, r.snapshot, r.labels_used) for r in results.rows if r.images != "original"
    ]
    assert len(results.confusions) == len(results.rows)


def test_every_number_can_be_recounted_from_the_predictions(
    finished_study: tuple[Path, StudyResults, list[Call]],
) -> None:
    out, results, _ = finished_study
    cells: dict[Any, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    truth = {}
    with (out / "predictions.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            key = (line["site"], line["classifier"], line["images"], line["snapshot"], line["labels_used"])
            cells[key][line["id"]][line["class"]] = float(line["probability"])
            truth[line["site"], line["id"]] = line["truth"]
    assert len(cells) == len(results.rows)
    for row in results.rows:
        said = cells[row.site, row.classifier, row.images, row.snapshot or "", str(row.labels_used)]
        right = [max(shares, key=shares.__getitem__) == truth[row.site, cell] for cell, shares in said.items()]
        assert (row.n, row.accuracy) == (len(right), pytest.approx(np.mean(right)))
        of_class = {
            name: [r for cell, r in zip(said, right, strict=True) if truth[row.site, cell] == name]
            for name in results.classes
        }
        assert row.recall == pytest.approx({name: float(np.mean(hits)) for name, hits in of_class.items()})
        assert row.balanced_accuracy == pytest.approx(np.mean([np.mean(hits) for hits in of_class.values()]))
        assert row.interval == pytest.approx(proportion_confint(sum(right), len(right), method="wilson"))


def test_the_truth_is_measured_against_the_same_cells(
    finished_study: tuple[Path, StudyResults, list[Call]], hospitals: Path
) -> None:
    out, results, _ = finished_study
    split = read_manifest(out / "split" / "yellow-field" / "manifest.csv", hospitals / "yellow-field")
    names = [path for path, part in zip(split.column("path"), split.column("split"), strict=True) if part == "test"]

    def mean_psnr(folder: Path) -> float:
        return float(
            np.mean(
                [peak_signal_noise_ratio(read_image(hospitals / "truth" / n), read_image(folder / n)) for n in names]
            )
        )

    assert [(c.images, c.snapshot, c.n) for c in results.closeness] == [
        ("original", None, 12),
        ("white-point", None, 12),
        ("cyclegan", "epoch-0001", 12),
        ("cyclegan", "epoch-0002", 12),
    ]
    assert results.closeness[0].psnr_db == pytest.approx(mean_psnr(hospitals / "yellow-field"))
    for close in results.closeness[1:]:
        restained = out / "restained" / (close.snapshot or close.images) / "to_target"
        assert close.psnr_db == pytest.approx(mean_psnr(restained))


def test_both_directions_are_written_under_the_names_of_the_originals(
    finished_study: tuple[Path, StudyResults, list[Call]],
) -> None:
    out = finished_study[0]
    for site, direction in (("yellow-field", "to_target"), ("clinic-like", "to_source")):
        with (out / "split" / site / "manifest.csv").open(newline="") as file:
            tests = {line["path"] for line in csv.DictReader(file) if line["split"] == "test"}
        for epoch in ("epoch-0001", "epoch-0002"):
            folder = out / "restained" / epoch / direction
            assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")} == tests


def test_the_translator_is_kept_from_every_scored_cell(
    finished_study: tuple[Path, StudyResults, list[Call]],
) -> None:
    out = finished_study[0]
    hashes = defaultdict(set)
    for site in ("yellow-field", "clinic-like"):
        with (out / "split" / site / "manifest.csv").open(newline="") as file:
            for line in csv.DictReader(file):
                hashes[site, line["split"]].add(line["sha256"])
    seen = set(read_header(out / "translator" / "snapshots" / "epoch-0002.safetensors")["seen"])
    assert seen == hashes["yellow-field", "train"] | hashes["clinic-like", "train"]
    assert len(seen) == 26


def test_images_are_left_as_they_were(finished_study: tuple[Path, StudyResults, list[Call]], hospitals: Path) -> None:
    for site in ("clinic-like", "yellow-field", "truth"):
        manifest = read_manifest(hospitals / site / "manifest.csv")
        found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in manifest.paths()]
        assert found == manifest.column("sha256")


class References(HTMLParser):
    """Collects what a page asks a browser to fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe", "object", "embed")
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def test_the_report_opens_offline(finished_study: tuple[Path, StudyResults, list[Call]]) -> None:
    html = (finished_study[0] / "report.html").read_text(encoding="utf-8")
    page = References()
    page.feed(html)
    assert len(page.found) > 10
    assert [found[:40] for found in page.found if not found.startswith(("data:", "#"))] == []
    assert "url(http" not in html
    assert "@import" not in html
    for name in ("Small net", "Given (external)", "epoch-0001", "epoch-0002", "yellow-field", "clinic-like"):
        assert name in html


def test_figure_4_is_a_picture(finished_study: tuple[Path, StudyResults, list[Call]]) -> None:
    picture = read_image(finished_study[0] / "figure-4.png")
    assert min(picture.shape[:2]) > 5 * 32


def test_the_run_folder_says_what_was_run(
    finished_study: tuple[Path, StudyResults, list[Call]], small_study: Path
) -> None:
    assert read_recipe(finished_study[0] / "recipe.toml") == recipe_of(small_study)
    assert json.loads((finished_study[0] / "run.json").read_text())["device"] == "cpu"


def test_a_translator_that_saw_the_scored_cells_is_called_transductive(small_study: Path, tmp_path: Path) -> None:
    results, _ = run(small_study, tmp_path / "out", "mode=transductive", *LEAN)
    assert [(row.images, row.mode) for row in results.rows] == [
        ("original", "none"),
        ("original", "none"),
        ("cyclegan", "transductive"),
    ]


def snapshot(images: int, epoch_images: int) -> Snapshot:
    return Snapshot(Path(f"{images}.safetensors"), (images, images / epoch_images))


def test_an_epoch_ends_with_the_batch_that_completes_it() -> None:
    snapshots = [snapshot(images, 25) for images in (26, 38, 50, 76)]  # batches of 2, and one snapshot between
    found = snapshots_of(snapshots, [2, 1, 3], batch_size=2)
    assert [s.images for s in found] == [50, 26, 76]
    with pytest.raises(RecipeError, match=r"among the snapshots' epochs \[1.04, 1.52, 2.0, 3.04\], got \[4\]"):
        snapshots_of(snapshots, [1, 4], batch_size=2)


def test_a_snapshot_one_image_later_is_not_that_of_the_epoch() -> None:
    snapshots = [snapshot(images, 7) for images in (7, 8, 15)]
    assert [s.images for s in snapshots_of(snapshots, [1], batch_size=1)] == [7]
    with pytest.raises(RecipeError, match=r"got \[2\]"):
        snapshots_of(snapshots, [2], batch_size=1)


def test_a_review_takes_its_arms_from_the_finished_study(finished_study: tuple[Path, StudyResults, list[Call]]) -> None:
    out, results, _ = finished_study
    spec = {"kind": "review", "name": "r", "readers": ["Ana"], "tasks": [{"questions": ["stain"], "cells": 2}]}
    arms = arms_of(ReviewPlan.model_validate({**spec, "study": out}))
    assert list(arms) == ["original", "target", "epoch-0002"]
    images = np.load(out / "restained" / "epoch-0002" / "test.npy")
    shown = [read_image(cell.picture.path) for cell in arms["epoch-0002"].cells.values()]
    np.testing.assert_array_equal(np.stack(shown), images)
    tested = next(row.n for row in results.rows if row.images == "original" and row.site == "yellow-field")
    assert len(arms["original"].cells) == len(images) == tested
