import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import InputError, ModelError, RecipeError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.models import Classification, Model, open_model
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.recipes.recipe_file import expect_kind, read_recipe
from hemabridge.recipes.trainings import ClassifierTrainingRecipe
from hemabridge.storage.files import sha256_of
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.classify.classify import COLUMNS, WITHHELD, classify
from hemabridge.workflows.train import train

CHANNELS = ("red", "green", "blue")
TRAINING = """
kind = "classifier"
name = "small"
size_px = 32
parts = {{ train = 0.5, test = 0.5 }}
[site]
site = "clinic-like"
manifest = "{hospitals}/clinic-like/manifest.csv"
[classifier]
architecture = "test_resnet"
size_px = 32
epochs = 1
learning_rate = 1e-3
batch_size = 6
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """One image of each channel, of several sizes, more than a batch in all, and one that is damaged."""
    for number in range(36):
        image = np.full((32 + 8 * (number % 3), 40, 3), 60, np.uint8)
        image[::2, :, number % 3] = 220
        write_image(tmp_path / "in" / f"{number:02d}-{CHANNELS[number % 3]}.png", image)
    (tmp_path / "in" / "10-damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    return tmp_path / "in"


def table(out: Path) -> pl.DataFrame:
    return pl.read_csv(out / "predictions.csv")


def described(folder: Path, text: str = 'file = "brightest.onnx"\nclasses = ["red", "green", "blue"]\n') -> Path:
    (folder / "theirs.toml").write_text(text, encoding="utf-8")
    return folder / "theirs.toml"


def test_large_images_are_not_in_memory_together(
    brightest: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model(brightest, classes=CHANNELS)
    done = classify(model, images, tmp_path / "out")
    counts: list[int] = []
    usual = type(model).classify

    def counted(self: Model, given: Iterable[UInt8Image], scales: Sequence[None]) -> Classification:
        some = list(given)
        counts.append(len(some))
        return usual(self, some, scales)

    monkeypatch.setattr(type(model), "classify", counted)
    classify(model, images, tmp_path / "again")
    assert counts == [31, 5]  # the damaged one is among the first 32 files
    counts.clear()
    monkeypatch.setattr("hemabridge.workflows.classify.classify.BATCH_PIXELS", 5_000)  # of 1,280 to 1,920 each
    again = classify(model, images, tmp_path / "few")
    assert max(counts) == 4
    assert sum(counts) == 36
    assert again.rows == done.rows


@pytest.mark.parametrize("kind", ["onnx", "toml"])
def test_each_image_gets_a_row_and_a_bad_file_stops_nothing(
    kind: str, brightest: Path, images: Path, tmp_path: Path
) -> None:
    model = open_model(brightest, classes=CHANNELS) if kind == "onnx" else open_model(described(tmp_path))
    done = classify(model, images, tmp_path / "out")
    rows = table(tmp_path / "out")
    assert rows.columns == [*COLUMNS, *(f"probability of {name}" for name in CHANNELS)]
    assert rows["path"].to_list() == sorted(path.name for path in images.iterdir())
    good = rows.filter(pl.col("path") != "10-damaged.png")
    assert good["predicted_class"].to_list() == [path[3:-4] for path in good["path"]]
    assert good["reason"].null_count() == len(good)
    bad = rows.row(by_predicate=pl.col("path") == "10-damaged.png", named=True)
    assert bad["predicted_class"] is None
    assert bad["probability of red"] is None
    assert "expected" in bad["reason"]
    assert (done.predicted, done.failed, done.withheld, done.site) == (36, 1, 0, None)
    told = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert told["model"]["sha256"] == sha256_of(brightest)
    assert told["predictions_sha256"] == sha256_of(tmp_path / "out" / "predictions.csv")


def test_the_table_holds_what_python_predicts(brightest: Path, images: Path, tmp_path: Path) -> None:
    (images / "10-damaged.png").unlink()
    model = open_model(brightest, classes=CHANNELS)
    classify(model, images, tmp_path / "out")
    by_hand = model.classify(map(read_image, sorted(images.iterdir())))
    written = table(tmp_path / "out").select(pl.selectors.starts_with("probability")).to_numpy()
    np.testing.assert_allclose(written, by_hand.probabilities, atol=6e-5)


def test_a_trained_classifiers_run_folder_classifies(hospitals: Path, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(TRAINING.format(hospitals=hospitals), encoding="utf-8")
    recipe = expect_kind(read_recipe(tmp_path / "small.toml"), ClassifierTrainingRecipe)
    last = train(recipe, tmp_path / "run", fabric=start_fabric("cpu"))[-1]
    model = open_model(tmp_path / "run")
    done = classify(model, hospitals / "clinic-like", tmp_path / "out")
    assert (done.failed, done.withheld) == (0, 0)
    assert {row.predicted for row in done.rows} <= set(model.classes)
    np.testing.assert_allclose([sum(row.probabilities or ()) for row in done.rows], 1, atol=1e-5)
    told = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert told["model"] == {"file": last.path.name, "sha256": sha256_of(last.path), "crop_px": None}


@pytest.mark.parametrize(("hospital", "trusted"), [("clinic-like", True), ("yellow-field", False)])
def test_images_of_an_unknown_site_get_a_reason_and_neither_class_nor_probability(
    hospital: str, trusted: bool, trained: Path, tmp_path: Path
) -> None:
    cells, _ = simulate_cells(("neutrophil", "lymphocyte"), 20, HOSPITALS[hospital], 1, 48)
    for number, cell in enumerate(cells):
        write_image(tmp_path / "in" / f"{number:02d}.png", cell)
    (tmp_path / "in" / "damaged.png").write_bytes(b"no image")
    done = classify(open_model(trained), tmp_path / "in", tmp_path / "out")
    rows = table(tmp_path / "out")
    classified = rows.filter(pl.col("path") != "damaged.png")
    assert done.site is not None
    assert set(rows["site"]) == {done.site.answer}
    assert (done.predicted, done.failed, done.withheld) == ((40, 1, 0) if trusted else (0, 1, 40))
    assert classified["predicted_class"].null_count() == (0 if trusted else 40)
    assert classified["probability of neutrophil"].null_count() == (0 if trusted else 40)
    assert set(classified["reason"]) == ({None} if trusted else {WITHHELD})
    assert json.loads((tmp_path / "out" / "site.json").read_text(encoding="utf-8"))["answer"] == done.site.answer


def test_an_image_without_a_single_leukocyte_is_unknown_with_its_probabilities_and_the_reason(
    trained: Path, tmp_path: Path
) -> None:
    cells, _ = simulate_cells(("neutrophil", "lymphocyte"), 12, HOSPITALS["clinic-like"], 1, 48)
    for number, cell in enumerate(cells):
        write_image(tmp_path / "in" / ("neutrophil", "lymphocyte")[number // 12] / f"{number:02d}.png", cell)
    glass = np.full((48, 48, 3), cells[0].max(axis=(0, 1)), np.uint8)
    write_image(tmp_path / "in" / "neutrophil" / "glass.png", glass)
    model = open_model(trained, crop_px=44)
    done = classify(model, tmp_path / "in", tmp_path / "out")
    assert (done.predicted, done.unknown, done.failed, done.withheld) == (24, 1, 0, 0)
    row = table(tmp_path / "out").row(by_predicate=pl.col("path") == "neutrophil/glass.png", named=True)
    assert row["predicted_class"] == "unknown"
    assert row["reason"].startswith("no single leukocyte: ")
    assert row["probability of neutrophil"] + row["probability of lymphocyte"] == pytest.approx(1, abs=1e-3)
    told = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert (told["predicted"], told["unknown"]) == (24, 1)
    found = model.classify([cells[0], glass])
    assert (found.predicted[0] in model.classes, found.predicted[1]) == (True, "unknown")
    assert found.most_probable[1] in model.classes
    assert found.reasons == ("", row["reason"])


def test_an_earlier_call_is_replaced_and_other_files_never(brightest: Path, images: Path, tmp_path: Path) -> None:
    model = open_model(brightest, classes=CHANNELS)
    classify(model, images, tmp_path / "out")
    (images / "00-red.png").unlink()
    classify(model, images, tmp_path / "out")
    assert len(table(tmp_path / "out")) == 36
    for name, text in (("notes.txt", "mine"), ("predictions.csv", "site,part,classifier\n"), ("predictions.json", "")):
        other = tmp_path / f"with {name}"
        other.mkdir()
        (other / name).write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=f"expected a new or empty folder.*got {name}"):
            classify(model, images, other)
        assert [path.name for path in other.iterdir()] == [name]
        assert (other / name).read_text(encoding="utf-8") == text


def test_the_predictions_of_another_folder_are_not_replaced(brightest: Path, images: Path, tmp_path: Path) -> None:
    model, out = open_model(brightest, classes=CHANNELS), tmp_path / "out"
    classify(model, images, out)
    before = table(out)
    write_image(tmp_path / "other" / "x.png", np.full((32, 40, 3), 60, np.uint8))
    with pytest.raises(InputError, match="with those of other images; name another one"):
        classify(model, tmp_path / "other", out)
    assert table(out).equals(before)


def test_what_cannot_be_used_is_refused_before_anything_is_written(
    brightest: Path, images: Path, tmp_path: Path
) -> None:
    model, out = open_model(brightest, classes=CHANNELS), tmp_path / "out"
    with pytest.raises(InputError, match="expected a folder of images, got nothing"):
        classify(model, tmp_path / "nowhere", out)
    with pytest.raises(InputError, match="expected a folder of images, got a file"):
        classify(model, brightest, out)
    cells, _ = simulate_cells(("neutrophil",), 4, HOSPITALS["pale"], 0, 32)
    (tmp_path / "normalizer.json").write_text(fit_on_cells("white-point", cells, cells).to_json(), encoding="utf-8")
    with pytest.raises(ModelError, match="expected a model that classifies, got a normalizer"):
        classify(open_model(tmp_path / "normalizer.json"), images, out)
    assert not out.exists()


def test_the_description_of_a_classifier_says_its_format(brightest: Path, tmp_path: Path) -> None:
    text = f'file = "{brightest.name}"\nclasses = ["red", "green", "blue"]\n'
    assert (
        open_model(described(tmp_path, text)).classes == open_model(described(tmp_path, "format = 1\n" + text)).classes
    )
    with pytest.raises(RecipeError, match=r"theirs.toml\) of format 1, got 2, which a newer hemabridge wrote"):
        open_model(described(tmp_path, "format = 2\n" + text))
    with pytest.raises(RecipeError, match="of format 1, got 'one'"):
        open_model(described(tmp_path, 'format = "one"\n' + text))


def test_a_wrong_description_of_a_classifier_is_told_by_its_key(brightest: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown key class"):
        open_model(described(tmp_path, f'file = "{brightest.name}"\nclass = ["a", "b"]\n'))
    with pytest.raises(ModelError, match=r"expected classes, architecture and preprocessing in .* alone"):
        open_model(described(tmp_path), classes=CHANNELS)
    with pytest.raises(ModelError, match="none that can be read"):
        open_model(described(tmp_path, 'file = "gone.onnx"\nclasses = ["a", "b"]\n'))


def in_folders(folder: Path, names: tuple[str, str, str]) -> Path:
    """Twelve images of each channel, in a folder with the name that is given for it."""
    for number in range(36):
        image = np.full((40, 40, 3), 60, np.uint8)
        image[::2, :, number % 3] = 220
        write_image(folder / "labeled" / names[number % 3] / f"{number:02d}.png", image)
    return folder / "labeled"


def test_a_classifier_whose_classes_are_in_another_order_is_told_where_folders_say_the_classes(
    brightest: Path, tmp_path: Path
) -> None:
    source = in_folders(tmp_path, ("red", "green", "blue"))
    right = classify(open_model(brightest, classes=CHANNELS), source, tmp_path / "right")
    assert right.failure is None
    assert json.loads((tmp_path / "right" / "predictions.json").read_text(encoding="utf-8"))["failure"] is None
    wrong = classify(open_model(brightest, classes=("green", "blue", "red")), source, tmp_path / "wrong")
    assert wrong.failure is not None
    assert wrong.failure.balanced_accuracy == 0
    assert wrong.failure.sentence.startswith("brightest fails on these images: balanced accuracy 0.0% on 36 cells")
    assert 'classes = ["red", "green", "blue"] gives 100.0%' in wrong.failure.sentence
    told = json.loads((tmp_path / "wrong" / "predictions.json").read_text(encoding="utf-8"))["failure"]
    assert told["explanations"][0]["explains"]


def test_a_classifier_that_takes_bgr_is_told_and_its_description_can_say_so(brightest: Path, tmp_path: Path) -> None:
    """The first and the last of its outputs change places, as they do when red and blue are exchanged."""
    source = in_folders(tmp_path, ("red", "green", "blue"))
    text = 'file = "brightest.onnx"\nclasses = ["blue", "green", "red"]\n'
    done = classify(open_model(described(tmp_path, text)), source, tmp_path / "out")
    assert done.failure is not None
    assert {'channels = "bgr"', 'classes = ["red", "green", "blue"]'} <= {
        each.setting for each in done.failure.explanations if each.explains
    }
    mended = described(tmp_path, text + '[preprocessing]\nchannels = "bgr"\n')
    assert classify(open_model(mended), source, tmp_path / "mended").failure is None


def test_folders_that_are_no_classes_say_nothing(brightest: Path, tmp_path: Path) -> None:
    source = in_folders(tmp_path, ("monday", "tuesday", "friday"))
    assert classify(open_model(brightest, classes=("green", "blue", "red")), source, tmp_path / "out").failure is None


def test_a_whole_field_gets_no_class_and_its_row_says_what_to_do(
    brightest: Path, images: Path, drawn_field: Path, tmp_path: Path
) -> None:
    shutil.copyfile(drawn_field, images / "field.png")
    done = classify(open_model(brightest, classes=CHANNELS), images, tmp_path / "out")
    row = next(row for row in done.rows if row.path == "field.png")
    assert row.predicted is None
    assert "image of 640 x 480 pixels that is a whole field" in row.reason
    assert "hemabridge find" in row.reason
    assert sum(row.predicted is not None for row in done.rows) == 36
