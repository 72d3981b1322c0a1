import os
import shutil
from pathlib import Path

import polars as pl
import pytest
from evaluated_study import predicted, written
from PIL import Image

from hemabridge.data.manifest import Manifest
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.errors import InputError, SplitError
from hemabridge.evaluation.results import StudyResults
from hemabridge.imaging.provenance import SyntheticOrigin
from hemabridge.workflows.evaluate.evaluate import Evaluation, evaluate


def test_cells_of_which_nobody_knows_the_class_are_named_and_bad_files_are_told(
    finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_asked(*_: object) -> None:
        raise AssertionError("the ensemble was asked, though nobody sees its answers")

    monkeypatch.setattr(FittedEnsemble, "load", not_asked)
    folder = tmp_path / "night"
    folder.mkdir()
    for number, path in enumerate(source.paths()[:3]):
        shutil.copy(path, folder / f"{number}{path.suffix}")
    (folder / "1b.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image either")
    Image.new("RGB", (7, 300)).save(folder / "3.png")
    Image.new("RGB", (48, 48), (230, 228, 232)).save(folder / "4.png")
    done = evaluate(finished[0], folder, tmp_path / "out", by="Learner on white-point")
    table = predicted(tmp_path / "out")
    assert [Path(name).stem for name in table["path"]] == ["0", "1", "1b", "2", "3", "4"]
    assert table["predicted_class"].to_list()[2] == ""
    assert all(
        name in finished[1].classes for place, name in enumerate(table["predicted_class"]) if place not in (2, 4, 5)
    )
    assert set(table["by"]) == {"Learner on white-point"}
    assert (done.predicted, list(done.failed), done.rows, done.unscored) == (3, ["1b.png", "3.png"], (), 4)
    assert (done.unknown, table["predicted_class"].to_list()[5]) == (1, "unknown")
    assert table["reason"].to_list()[5].startswith("no single leukocyte: ")
    assert "at least 8 x 8 pixels, to show a cell, got 7 x 300; " in table["reason"].to_list()[4]
    assert table["reason"].to_list()[2] == done.failed["1b.png"] != ""


def test_files_that_no_manifest_may_hold_get_a_row(
    finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path
) -> None:
    folder, image = tmp_path / "night", source.paths()[0]
    folder.mkdir()
    for name in ("good.png", os.fsdecode(b"latin-\xe9.png"), "line\nbreak.png"):
        shutil.copy(image, folder / name)
    (folder / "link.png").symlink_to(image)
    done = evaluate(finished[0], folder, tmp_path / "out")
    table = predicted(tmp_path / "out")
    assert table["path"].to_list() == ["good.png", "latin-\\udce9.png", "line\\nbreak.png", "link.png"]
    assert table["predicted_class"].to_list()[1:] == [""] * 3
    assert [reason.rpartition("; ")[2] for reason in table["reason"]] == [
        "",
        "rename the file",
        "rename the file",
        "copy the file into it",
    ]
    assert (done.predicted, list(done.failed)) == (1, table["path"].to_list()[1:])
    (folder / "good.png").unlink()
    with pytest.raises(InputError, match=r"expected at least one usable image .* none of 3; latin-.*rename"):
        evaluate(finished[0], folder, tmp_path / "out")


def test_other_classes_are_named_and_not_scored(
    finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path
) -> None:
    classes = ["basophil", *source.column("class")[1:]]
    other = Manifest(source.table.with_columns(pl.Series("class", classes)), source.root)
    done = evaluate(finished[0], written(other, tmp_path / "cells.csv"), tmp_path / "out", root=source.root)
    assert done.unscored == 1
    assert {row.n for row in done.rows} == {len(source) - 1}
    assert predicted(tmp_path / "out")["predicted_class"].to_list()[0] in finished[1].classes


def test_what_cannot_be_done_is_told(finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path) -> None:
    cells, out = written(source, tmp_path / "cells.csv"), tmp_path / "out"
    with pytest.raises(InputError, match="did you mean 'Learner on white-point'"):
        evaluate(finished[0], cells, out, root=source.root, by="Learner on white point")
    with pytest.raises(InputError, match="finished study"):
        evaluate(tmp_path, cells, out, root=source.root)
    with pytest.raises(InputError, match="nothing"):
        evaluate(finished[0], tmp_path / "missing", out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected images"):
        evaluate(finished[0], tmp_path / "empty", out)
    origins = [SyntheticOrigin("0" * 64, "1" * 64, "test").as_text(), *[""] * (len(source) - 1)]
    synthetic = Manifest(source.table.with_columns(pl.Series("origin", origins)), source.root)
    with pytest.raises(SplitError, match="1 synthetic"):
        evaluate(finished[0], written(synthetic, tmp_path / "synthetic.csv"), out, root=source.root)
    assert not out.exists()


def test_nothing_of_others_is_replaced(finished: tuple[Path, StudyResults], source: Manifest, tmp_path: Path) -> None:
    study, folder = finished[0], tmp_path / "images" / "night"
    folder.mkdir(parents=True)
    shutil.copy(source.paths()[0], folder / "0.png")
    cells = written(source, tmp_path / "cells.csv")
    predictions = (study / "predictions.csv").read_bytes()
    for out in (study, study / "new", study.parent, folder, folder / "new", folder.parent):
        with pytest.raises(InputError, match="originals are never touched"):
            evaluate(study, folder, out)
    for out in (source.root, source.paths()[0].parent):
        with pytest.raises(InputError, match="expected a new or empty folder"):
            evaluate(study, cells, out, root=source.root)
    with pytest.raises(InputError, match="got a file"):
        evaluate(study, folder, cells)
    for number, (name, text) in enumerate(
        (("predictions.csv", "mine"), ("predicted-classes.csv", "mine"), ("linear-ot.json", "{}"), ("notes.txt", ""))
    ):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / name).write_text(text)
        with pytest.raises(InputError, match=f"earlier call, got {name} in"):
            evaluate(study, folder, tmp_path / str(number))
        assert (tmp_path / str(number) / name).read_text() == text
    assert (study / "predictions.csv").read_bytes() == predictions
    assert list(folder.iterdir()) == [folder / "0.png"]


def test_the_folder_of_an_earlier_call_is_written_again(
    finished: tuple[Path, StudyResults],
    source: Manifest,
    evaluated: dict[bool, tuple[Path, Evaluation]],
    tmp_path: Path,
) -> None:
    cells, out = written(source, tmp_path / "cells.csv"), Path(shutil.copytree(evaluated[True][0], tmp_path / "out"))
    assert set(predicted(out)["by"]) == {"ensemble and one classifier"}
    evaluate(finished[0], cells, out, root=source.root)
    assert set(predicted(out)["by"]) == {"ensemble, 6 labels"}
    assert predicted(out)["path"].to_list() == source.column("path")
