import shutil
from pathlib import Path

import pytest
from PIL import Image
from restained_folder import another_model, hashes, log_of, outputs, picture, statuses

from hemabridge.models.site_answer import ANSWER_FILE
from hemabridge.workflows.standardize.log import LOG
from hemabridge.workflows.standardize.standardize import standardize


class CutError(Exception):
    """Stands for whatever ends a process in the middle of a job."""


def test_a_second_call_does_nothing_again(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    first = standardize(small_snapshot, images, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("[!.]*") if path.name != LOG}
    second = standardize(small_snapshot, images, tmp_path / "out")
    assert second == first
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert len(log_of(tmp_path / "out")) == 5


@pytest.mark.parametrize("torn", ["", "b/c.png,restai", '"b, c', "b/c.png,restained,,", "\0\0\n"])
def test_a_cut_job_is_resumed_and_its_log_has_each_file_once(
    small_snapshot: Path, images: Path, tmp_path: Path, torn: str
) -> None:
    def cut(_label: str, done: int, _total: int) -> None:
        if done == 2:
            raise CutError

    with pytest.raises(CutError):
        standardize(small_snapshot, images, tmp_path / "out", progress=cut)
    assert outputs(tmp_path / "out") == {"a.png", "b/c.jpg"}
    times = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in ("a.png", "b/c.jpg")}
    with (tmp_path / "out" / LOG).open("a") as file:
        file.write(torn)  # what a killed process left of its last line
    done = standardize(small_snapshot, images, tmp_path / "out")
    assert [row["path"] for row in log_of(tmp_path / "out")] == [row.path for row in done.rows]
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in times} == times
    standardize(small_snapshot, images, tmp_path / "whole")
    assert {n: h for n, h in hashes(tmp_path / "out").items() if n != LOG} == {
        n: h for n, h in hashes(tmp_path / "whole").items() if n != LOG
    }


def test_what_changed_is_done_again_and_nothing_else(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    standardize(small_snapshot, images, out)
    before = hashes(out)
    Image.fromarray(picture(77)).save(images / "a.png")
    (out / "b/c.png").unlink()
    kept = (out / "b/c.jpg").stat().st_mtime_ns
    standardize(small_snapshot, images, out)
    after = hashes(out)
    assert after["a.png"] != before["a.png"]
    assert after["b/c.png"] == before["b/c.png"]
    assert (out / "b/c.jpg").stat().st_mtime_ns == kept


def test_a_call_stopped_before_the_first_image_goes_on(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def cut(_label: str, _done: int, _total: int) -> None:
        raise CutError

    with pytest.raises(CutError):
        standardize(small_snapshot, images, out, progress=cut)
    (out / ANSWER_FILE).write_text("{}")
    assert standardize(small_snapshot, images, out).count("restained") == len(outputs(out)) > 0


def test_a_folder_that_holds_nothing_but_the_answer_of_a_stopped_call_is_our_own(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ANSWER_FILE).write_text("{}")
    assert standardize(small_snapshot, images, tmp_path / "out").count("restained") > 0


def test_another_model_does_all_again(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    standardize(small_snapshot, images, out)
    before = hashes(out)
    standardize(another_model(small_snapshot, tmp_path), images, out)
    assert [name for name in before if hashes(out)[name] == before[name] and name != ".lock"] == []
    assert len({row["model"] for row in log_of(out)}) == 1


def test_an_image_that_became_unreadable_leaves_no_older_output(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    standardize(small_snapshot, images, tmp_path / "out")
    (images / "a.png").write_bytes(b"")
    assert statuses(standardize(small_snapshot, images, tmp_path / "out"))["a.png"] == "failed"
    assert not (tmp_path / "out" / "a.png").exists()
    Image.fromarray(picture(0)).save(images / "a.png")
    assert statuses(standardize(small_snapshot, images, tmp_path / "out"))["a.png"] == "restained"


def test_a_link_within_the_output_leads_nobody_to_the_originals(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    (images / "b" / "broken.png").write_bytes(b"no image")
    standardize(small_snapshot, images, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "b")
    (tmp_path / "out" / "b").symlink_to(images / "b")
    before = hashes(images)
    done = standardize(small_snapshot, images, tmp_path / "out")
    assert hashes(images) == before
    assert {row.path for row in done.rows if row.status == "failed"} == {name for name in before if name[0] == "b"}
    assert "link that leads out of" in next(row.reason for row in done.rows if row.path == "b/c.png")


def test_images_of_another_scale_are_done_again(small_snapshot: Path, images: Path, tmp_path: Path) -> None:
    standardize(small_snapshot, images, tmp_path / "out")
    standardize(small_snapshot, images, tmp_path / "out", crop_px=30)
    standardize(small_snapshot, images, tmp_path / "afresh", crop_px=30)
    again, afresh = hashes(tmp_path / "out"), hashes(tmp_path / "afresh")
    assert again == afresh


def test_a_folder_in_the_place_of_a_failed_output_does_not_stop_the_job(
    small_snapshot: Path, images: Path, tmp_path: Path
) -> None:
    (images / "0.png").mkdir()
    shutil.copy(images / "a.png", images / "0.png" / "a.png")
    standardize(small_snapshot, images, tmp_path / "out")
    shutil.rmtree(images / "0.png")
    (images / "0.png").write_bytes(b"no image")
    done = standardize(small_snapshot, images, tmp_path / "out")
    assert (done.count("failed"), done.count("restained")) == (1, 5)
