import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pydicom
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from hemabridge.classifiers.adabn import adabn
from hemabridge.classifiers.fine_tune import fine_tune
from hemabridge.cli import main
from hemabridge.data.cells import load_cells
from hemabridge.data.manifest import read_manifest
from hemabridge.errors import InputError, ModelError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.models import open_model
from hemabridge.models.classified import UNKNOWN
from hemabridge.progress import silent
from hemabridge.recipes.recipe import StudyRecipe
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.adapt.adapt import adapt
from hemabridge.workflows.adapt.adapted import ADAPTED_FILE, Adapted
from hemabridge.workflows.adapt.apply import run
from hemabridge.workflows.adapt.certainty import quantiles_of, uncertainty, unknown_limit
from hemabridge.workflows.adapt.config import AdaptConfig, members
from hemabridge.workflows.differential.opened import open_for_count
from hemabridge.workflows.export.exported_models import models_of
from hemabridge.workflows.serve import served_of

RECOMMENDED = Path(__file__).resolve().parents[2] / "recipes" / "recommended.toml"


def test_each_image_gets_a_class_or_a_reason_and_is_restained(
    adapted_run: tuple[Path, Adapted], unlabeled: Path
) -> None:
    out, adapted = adapted_run
    table = pl.read_csv(out / "results" / "predictions.csv")
    columns = ["path", "predicted_class", "probability", "uncertainty", "site", "guard", "reason", "remark"]
    assert table.columns == columns
    assert sorted(table["path"]) == sorted(path.name for path in unlabeled.iterdir())
    bad = table.filter(pl.col("path") == "damaged.png").row(0, named=True)
    assert bad["predicted_class"] is None
    assert bad["reason"]
    good = table.filter(pl.col("path") != "damaged.png")
    known = good.filter(pl.col("site") != "out-of-distribution")
    assert set(known["predicted_class"]) <= set(adapted.classes)
    assert set(good["guard"]) == {None}  # 22 cells are too few for limits, and the user is told
    assert any(line.startswith("The morphology of re-stained images is not checked") for line in adapted.lines())
    for name in good["path"]:
        assert (out / "results" / "restained" / name).is_file()
    assert adapted.source_cells == len(good)
    assert adapted.home_scored > 0
    assert adapted.target == "clinic-like"  # its manifest says so
    assert sum(adapted.prevalence.values()) == pytest.approx(1)


@pytest.mark.usefixtures("adapted_run")
def test_progress_numbers_the_steps_and_tells_the_time_left_of_all(
    adapt_progress: list[tuple[str, int, int]],
) -> None:
    counts = {label: (done, total) for label, done, total in adapt_progress if total}
    steps = [label.partition(": ") for label in counts]
    assert list(dict.fromkeys(step for step, _, _ in steps)) == [f"step {number} of 9" for number in range(1, 10)]
    by_step = {step: what for step, _, what in steps}
    assert by_step["step 3 of 9"] == "classifier 1 of 2 (color): training"
    assert by_step["step 4 of 9"] == "classifier 2 of 2 (shape): training"
    assert all(done == total for done, total in counts.values())
    messages = [label for label, _, total in adapt_progress if not total]
    assert "flat: damaged.png: expected a whole JPEG, PNG, " in messages.pop(0)
    assert messages[0].startswith("9 steps, 2 done; about ")
    assert messages[0].endswith(" left of all steps")
    assert messages[1].startswith("classifier 1 of 2 (color) took ")
    assert "; 3 of 9 steps done; about " in messages[1]
    assert messages[-1].endswith("9 of 9 steps done")
    assert len(messages) == 8


def test_the_least_certain_cells_can_be_found(adapted_run: tuple[Path, Adapted]) -> None:
    table = pl.read_csv(adapted_run[0] / "results" / "predictions.csv").drop_nulls("probability")
    least_certain_last = table.sort("uncertainty")
    assert least_certain_last["probability"].is_sorted(descending=True)
    assert least_certain_last["uncertainty"].to_list()[:: len(table) - 1] == pytest.approx([0, 1], abs=0.01)


@pytest.mark.parametrize(
    ("limit", "said"), [(1.0, "is below 1.00 is called unknown"), (None, "No cell is called unkn")]
)
def test_a_cell_is_unknown_below_a_limit_that_holds(
    adapted_run: tuple[Path, Adapted], unlabeled: Path, tmp_path: Path, limit: float | None, said: str
) -> None:
    out, adapted = adapted_run
    changed = replace(adapted, unknown_below=limit)
    other = Path(shutil.copytree(out, tmp_path / "other"))
    (other / ADAPTED_FILE).write_text(changed.to_json(), encoding="utf-8")
    run(other, unlabeled, tmp_path / "out")
    table = pl.read_csv(tmp_path / "out" / "predictions.csv").drop_nulls("predicted_class")
    assert len(table) > 0
    unknown = table["predicted_class"] == UNKNOWN
    assert unknown.all() if limit else not unknown.any()
    assert table["reason"].drop_nulls().str.contains("it resembles .* most").sum() == unknown.sum()
    assert any(said in line for line in changed.lines())


def test_an_image_without_a_leukocyte_is_unknown_whatever_the_limit(
    adapted_run: tuple[Path, Adapted], unlabeled: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(unlabeled, tmp_path / "day"))
    image = read_image(next(path for path in sorted(folder.rglob("*.png")) if path.stem != "damaged"))
    write_image(folder / "glass.png", np.broadcast_to(image.max(axis=(0, 1)), image.shape).copy())
    done = run(adapted_run[0], folder, tmp_path / "out").classified
    table = pl.read_csv(tmp_path / "out" / "predictions.csv")
    row = table.row(by_predicate=pl.col("path") == "glass.png", named=True)
    assert (row["predicted_class"], done.unknown) == (UNKNOWN, 1)
    assert row["reason"].startswith("no single leukocyte: ")
    assert 0 < row["probability"] <= 1


def test_the_limit_of_the_own_hospital_holds_only_where_cells_are_as_certain() -> None:
    home = np.linspace(0.5, 1.0, 101)
    assert unknown_limit(home, home) == pytest.approx(0.525)
    assert unknown_limit(home, np.append(home[:5], home)) == pytest.approx(0.525)  # 10 of 106 are below
    assert unknown_limit(home, np.append(home[:5], home[:90])) is None  # 10 of 95
    quantiles = quantiles_of(home)
    assert [uncertainty(value, quantiles) for value in (0.4, 0.525, 0.75, 1.0)] == pytest.approx([1, 0.95, 0.5, 0])


def test_what_a_user_reads_doubts_random_weights(adapted_run: tuple[Path, Adapted]) -> None:
    assert any(line.startswith("CAUTION: training began from random weights") for line in adapted_run[1].lines())


def test_what_speaks_against_the_classes_is_repeated_with_every_result(
    adapted_run: tuple[Path, Adapted],
    unlabeled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, adapted = adapted_run
    good = replace(adapted, pretrained=True, home_accuracy=0.95, agreement=0.6, home_agreement=0.6)
    assert good.cautions == ()
    (low,) = replace(good, agreement=0.3).cautions
    assert low in replace(good, agreement=0.3).lines()
    assert adapted.source in low
    assert "0.30" in low
    assert len(replace(good, home_accuracy=0.5).cautions) == 1
    monkeypatch.setattr(sys, "argv", ["hemabridge", "run", str(folder), str(unlabeled), str(tmp_path / "out")])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().err
    assert adapted.cautions
    assert all(line in told for line in adapted.cautions)
    assert open_for_count(folder, None, None, silent).cautions == adapted.cautions


def test_what_standardize_remarks_stands_beside_the_class(
    adapted_run: tuple[Path, Adapted], unlabeled: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "gray"
    folder.mkdir()
    some = sorted(unlabeled.glob("[!d]*.png"))[:3]
    for path in some[1:]:
        shutil.copy(path, folder)
    write_image(
        folder / some[0].name, np.repeat(read_image(some[0]).mean(axis=2, keepdims=True), 3, 2).astype(np.uint8)
    )
    run(adapted_run[0], folder, tmp_path / "out")
    table = pl.read_csv(tmp_path / "out" / "predictions.csv")
    remarks = dict(table.select("path", "remark").iter_rows())
    assert "the picture is gray" in remarks[some[0].name]
    assert remarks[some[1].name] is None


def test_dicom_cells_are_classified_and_keep_their_patient_if_wanted(
    adapted_run: tuple[Path, Adapted], unlabeled: Path, tmp_path: Path, write_dicom: Callable[..., Path]
) -> None:
    folder = tmp_path / "dicom"
    for path in sorted(unlabeled.glob("[!d]*.png"))[:3]:
        write_dicom(folder / f"{path.stem}.dcm", read_image(path), PatientName="Some^Body")
        shutil.copy(path, folder)
    run(adapted_run[0], folder, tmp_path / "out", keep_identity=True)
    table = pl.read_csv(tmp_path / "out" / "predictions.csv").sort("path")
    of_dicom, of_png = (table.filter(pl.col("path").str.ends_with(suffix)) for suffix in (".dcm", ".png"))
    assert len(of_dicom) == 3
    columns = ["predicted_class", "probability", "reason"]
    assert of_dicom.select(columns).equals(of_png.select(columns))
    for path in (tmp_path / "out" / "restained").glob("*.dcm"):
        assert str(pydicom.dcmread(path).PatientName) == "Some^Body"


def models_written(out: Path) -> list[Path]:
    """Return the files of all models that a run of `adapt` wrote and uses."""
    return [*out.rglob("snapshots/*.safetensors"), out / Adapted.of_folder(out).normalizer]


def test_each_model_is_opened_and_hashed_once(adapted_run: tuple[Path, Adapted], reads: Any) -> None:
    files = models_written(adapted_run[0])
    assert len(files) == 4
    reads.check_once("adapt", *files)


def test_the_same_call_does_nothing_again_and_a_new_folder_is_run(
    adapt_config: AdaptConfig,
    adapted_run: tuple[Path, Adapted],
    hospitals: Path,
    unlabeled: Path,
    tmp_path: Path,
    reads: Any,
) -> None:
    out, adapted = adapted_run
    told: list[str] = []
    (out / ADAPTED_FILE).unlink()
    with reads("adapt, a second time"):
        again, _ = adapt(
            hospitals / "clinic-like",
            unlabeled,
            out,
            config=adapt_config,
            fabric=start_fabric("cpu"),
            progress=lambda label, *_: told.append(label),
        )
    assert again == adapted
    reads.check_once("adapt, a second time", *models_written(out))
    assert not any("training" in label or "one classifier" in label for label in told)
    assert "9 steps, 8 done; about 1 s left of all steps" in told
    found = run(out, unlabeled, tmp_path / "out")
    first, second = (
        pl.read_csv(folder / "predictions.csv").drop("guard") for folder in (out / "results", tmp_path / "out")
    )
    assert first.equals(second)
    assert found.restained.count("restained") == adapted.source_cells


def test_a_run_folder_can_be_moved(adapted_run: tuple[Path, Adapted], unlabeled: Path, tmp_path: Path) -> None:
    moved = Path(adapted_run[0]).rename(tmp_path / "moved")
    try:
        run(moved, unlabeled, tmp_path / "out")
        (moved / ADAPTED_FILE).rename(moved / "gone")
        unfinished = "expected a finished run folder of `hemabridge adapt`"
        with pytest.raises(InputError, match=unfinished):
            run(moved, unlabeled, tmp_path / "other")
        for command in (models_of, served_of, lambda path: open_for_count(path, None, None, silent)):
            with pytest.raises(InputError, match=unfinished):
                command(moved)
        (moved / "gone").rename(moved / ADAPTED_FILE)
    finally:
        moved.rename(adapted_run[0])


def test_members_are_trained_as_those_of_the_recommended_recipe() -> None:
    recipe = expect_kind(read_recipe(RECOMMENDED), StudyRecipe)
    assert recipe.ensemble is not None
    weights = recipe.ensemble.members[0].train.weights
    assert isinstance(weights, Path)
    assert [spec.train for spec in members(weights)] == [spec.train for spec in recipe.ensemble.members]


def test_random_weights_are_trained_longer() -> None:
    assert [spec.train.epochs for spec in members(None)] == [8, 8]
    assert [spec.train.epochs for spec in members("download")] == [2, 2]


@pytest.fixture(scope="module")
def dinobloom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the shapes and by the keys of DinoBloom-S: the teacher of a DINOv2 training at 224 px."""
    torch.manual_seed(0)
    bare = timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=224).state_dict()
    teacher = {f"backbone.{re.sub(r'^blocks[.]', 'blocks.0.', key)}": value for key, value in bare.items()}
    heads = {"dino_head.last_layer.weight": torch.zeros(8, 8), "ibot_head.mlp.0.bias": torch.zeros(8)}
    path = tmp_path_factory.mktemp("dinobloom") / "dinobloom-s.safetensors"
    save_file(teacher | heads | {"backbone.mask_token": torch.zeros(1, 384)}, path)
    return path


@pytest.mark.slow
def test_a_foundation_model_becomes_a_member_whose_head_alone_is_trained(
    dinobloom: Path, hospitals: Path, tmp_path: Path
) -> None:
    *own, added = members(None, dinobloom)
    assert tuple(own) == members(None)
    assert (added.count, added.train.architecture, added.train.view) == (1, "vit_small_patch14_dinov2", "color")
    config = AdaptConfig.of_members((*own, added))
    assert config.cell_px == added.train.size_px == 98
    short = added.train.model_copy(update={"epoch_images": 8, "batch_size": 4})
    manifest = read_manifest(hospitals / "clinic-like" / "manifest.csv")
    cells = load_cells(manifest, classes=("lymphocyte", "neutrophil"), size_px=98, crop_px="whole")
    trained = open_model(fine_tune(short, cells, tmp_path, start_fabric("cpu"), seed=0)).classifier
    published = {key.removeprefix("backbone."): value for key, value in load_file(dinobloom).items()}
    body = trained.network.body.state_dict()
    assert torch.equal(body["cls_token"], published["cls_token"])
    assert torch.equal(body["blocks.11.mlp.fc2.weight"], published["blocks.0.11.mlp.fc2.weight"])
    assert body["pos_embed"].shape == (1, 1 + 7 * 7, 384)
    assert float(trained.network.head.weight.std()) != pytest.approx(0.01, rel=1e-3)  # that of a new head
    assert adabn(trained, cells.images) is None  # it keeps no statistics that could be another hospital's


def test_a_file_that_is_no_foundation_model_is_refused(tmp_path: Path) -> None:
    save_file({"cls_token": torch.zeros(1, 1, 7)}, tmp_path / "narrow.safetensors")
    with pytest.raises(ModelError, match=r"DINOv2 vision transformer \(S, B or L\).*tokens of 7 numbers"):
        members(None, tmp_path / "narrow.safetensors")
    (tmp_path / "pickle.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match=r"got pickle\.pth"):
        members(None, tmp_path / "pickle.pth")
