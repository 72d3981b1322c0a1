import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hemabridge.errors import RunError
from hemabridge.storage.files import folder_name
from hemabridge.storage.stages import DONE, INPUTS, Stages


class CutError(Exception):
    """Stands for whatever ends a process in the middle of a stage."""


def writes(text: str, calls: list[str]) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        calls.append(text)
        (folder / "result.txt").write_text(text)

    return work


def test_a_stage_is_done_once_for_the_same_inputs(tmp_path: Path) -> None:
    calls: list[str] = []
    folder = Stages(tmp_path).run("one", {"a": 1, "b": [2.5, None]}, writes("first", calls))
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = Stages(tmp_path).run("one", {"b": [2.5, None], "a": 1}, writes("second", calls))
    assert again == folder == tmp_path / "one"
    assert calls == ["first"]
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert (folder / "result.txt").read_text() == "first"


def test_tuples_and_lists_are_the_same_inputs(tmp_path: Path) -> None:
    calls: list[str] = []
    Stages(tmp_path).run("one", {"classes": ("a", "b")}, writes("first", calls))
    Stages(tmp_path).run("one", {"classes": ["a", "b"]}, writes("second", calls))
    assert calls == ["first"]


@pytest.mark.parametrize("inputs", [{"a": 2}, {"a": 1, "b": 1}, {}, {"a": "1"}])
def test_a_stage_of_other_inputs_is_done_anew_in_an_empty_folder(tmp_path: Path, inputs: dict[str, object]) -> None:
    calls: list[str] = []
    folder = Stages(tmp_path).run("one", {"a": 1}, writes("first", calls))
    (folder / "below").mkdir()
    (folder / "below" / "of-the-first.txt").touch()
    Stages(tmp_path).run("one", inputs, writes("second", calls))
    assert calls == ["first", "second"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([DONE, INPUTS, "result.txt"])
    assert (folder / "result.txt").read_text() == "second"


def test_the_time_of_a_stage_is_that_of_all_its_sittings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("hemabridge.storage.stages.time.monotonic", lambda: now[0])

    def works(seconds: float, *, cut: bool) -> Callable[[Path], None]:
        def work(_: Path) -> None:
            now[0] += seconds
            if cut:
                raise CutError

        return work

    stages = Stages(tmp_path)
    for _ in range(2):
        with pytest.raises(CutError):
            stages.run("one", {"a": 1}, works(10.0, cut=True))
    now[0] += 1000  # nobody worked
    stages.run("one", {"a": 1}, works(3.0, cut=False))
    assert stages.seconds() == {"one": 23.0}
    stages.run("one", {"a": 2}, works(4.0, cut=False))
    assert stages.seconds() == {"one": 4.0}  # other inputs, another stage


def test_a_stage_that_was_cut_is_resumed_with_what_it_left(tmp_path: Path) -> None:
    def cut(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise CutError

    with pytest.raises(CutError):
        Stages(tmp_path).run("one", {"a": 1}, cut)
    assert not (tmp_path / "one" / DONE).exists()
    found: list[str] = []
    Stages(tmp_path).run("one", {"a": 1}, lambda folder: found.append((folder / "half.txt").read_text()))
    assert found == ["half"]
    assert (tmp_path / "one" / DONE).is_file()


def test_a_stage_that_was_cut_is_not_resumed_with_other_inputs(tmp_path: Path) -> None:
    def cut(folder: Path) -> None:
        (folder / "half.txt").touch()
        raise CutError

    with pytest.raises(CutError):
        Stages(tmp_path).run("one", {"a": 1}, cut)
    left: list[Path] = []
    Stages(tmp_path).run("one", {"a": 2}, lambda folder: left.extend(folder.glob("half*")))
    assert left == []


@pytest.mark.parametrize("damaged", [DONE, INPUTS])
@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"text"', '{"key": 1}', "\0\0"])
def test_a_damaged_record_is_no_record(tmp_path: Path, damaged: str, content: str) -> None:
    calls: list[str] = []
    Stages(tmp_path).run("one", {"a": 1}, writes("first", calls))
    (tmp_path / "one" / damaged).write_text(content)
    Stages(tmp_path).run("one", {"a": 1}, writes("second", calls))
    assert calls == ["first", "second"]


def test_files_that_no_stage_wrote_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "mine.txt").write_text("keep")
    calls: list[str] = []
    with pytest.raises(RunError, match="holds files that no run wrote"):
        Stages(tmp_path).run("one", {"a": 1}, writes("first", calls))
    assert calls == []
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["mine.txt"]
    assert (tmp_path / "one" / "mine.txt").read_text() == "keep"


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("keep")
    with pytest.raises(RunError, match="expected a new folder or one of an earlier run"):
        Stages(tmp_path).run("one", {"a": 1}, writes("first", []))
    assert (tmp_path / "one").read_text() == "keep"


def test_what_a_link_points_to_is_left_alone(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "run")
    stages.run("one", {"a": 1}, writes("first", []))
    (tmp_path / "run" / "one").rename(tmp_path / "elsewhere")
    (tmp_path / "run" / "one").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="expected a new folder or one of an earlier run"):
        stages.run("one", {"a": 2}, writes("second", []))
    assert (tmp_path / "elsewhere" / "result.txt").read_text() == "first"


def test_a_kill_while_the_inputs_are_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / ".writing-0123456789ab.json").write_text("{")
    calls: list[str] = []
    Stages(tmp_path).run("one", {"a": 1}, writes("first", calls))
    assert calls == ["first"]


@pytest.mark.parametrize("killed_at", range(1, 6))
def test_a_kill_while_an_old_stage_is_removed_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    stages = Stages(tmp_path)
    folder = stages.run("one", {"a": 1}, writes("first", []))
    for number in range(3):
        (folder / f"{number}").mkdir()
        (folder / f"{number}.txt").touch()
    original, calls = Path.unlink, []

    def killed(path: Path, missing_ok: bool = False) -> None:
        calls.append(path.name)
        if len(calls) == killed_at:
            raise CutError
        original(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(CutError):
            stages.run("one", {"a": 2}, writes("second", []))
    assert INPUTS not in calls  # it goes last, with the folder
    stages.run("one", {"a": 2}, writes("third", []))
    assert sorted(path.name for path in folder.iterdir()) == sorted([DONE, INPUTS, "result.txt"])
    assert (folder / "result.txt").read_text() == "third"


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    calls: list[str] = []
    Stages(tmp_path).run("one", {"a": 1}, writes("first", calls))
    assert calls == ["first"]


def test_the_key_follows_the_inputs_and_nothing_else(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    for name, inputs in (("one", {"a": 1}), ("deep/two", {"a": 1}), ("three", {"a": 2})):
        stages.run(name, inputs, writes(name, []))
    assert stages.key("one") == stages.key("deep/two") != stages.key("three")
    assert len(stages.key("one")) == 64


def test_the_inputs_can_be_read_and_the_seconds_are_told(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    stages.run("deep/one", {"a": (1, 2)}, writes("first", []))
    assert json.loads((tmp_path / "deep" / "one" / INPUTS).read_text())["inputs"] == {"a": [1, 2]}
    assert list(stages.seconds()) == ["deep/one"]
    assert 0 <= stages.seconds()["deep/one"] < 10


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("ResNet18 focal", "resnet18-focal"),
        ("MobileNetV2 (external)", "mobilenetv2-external"),
        ("../..", ""),
        ("東京", "東京"),
    ],
)
def test_a_name_becomes_a_folder_name(name: str, folder: str) -> None:
    assert folder_name(name) == folder


def test_tidying_comes_after_the_stage_is_done_and_not_again(tmp_path: Path) -> None:
    stages, tidied = Stages(tmp_path), []

    def tidy(folder: Path) -> None:
        assert (folder / DONE).is_file()  # so that a kill while tidying costs nothing
        tidied.append(folder)

    for _ in range(2):
        stages.run("one", {"a": 1}, lambda folder: (folder / "x").touch(), tidy)
    assert tidied == [tmp_path / "one"]


def saves(folder: Path) -> None:
    np.save(folder / "images.npy", np.arange(100))


def cut_array(folder: Path) -> None:
    path = folder / "images.npy"
    path.write_bytes(path.read_bytes()[:-1])


def without_seconds(folder: Path) -> None:
    record = json.loads((folder / DONE).read_text())
    (folder / DONE).write_text(json.dumps({"key": record["key"], "cpu_seconds": 1.0}))


@pytest.mark.parametrize("damage", [cut_array, without_seconds, lambda folder: (folder / "images.npy").unlink()])
def test_a_stage_whose_result_is_damaged_is_done_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    stages = Stages(tmp_path)
    folder = stages.run("one", {"a": 1}, saves)
    before = (folder / "images.npy").read_bytes()
    damage(folder)
    assert stages.seconds().keys() <= {"one"}
    stages.run("one", {"a": 1}, saves)
    assert (folder / "images.npy").read_bytes() == before
    stages.run("one", {"a": 1}, lambda _: pytest.fail("done twice"))


def test_a_damaged_stage_that_cannot_be_resumed_is_named(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    folder = stages.run("one", {"a": 1}, saves, lambda folder: (folder / "state").mkdir())
    stages.run("one", {"a": 1}, saves, lambda _: pytest.fail("tidied twice"))
    cut_array(folder)
    with pytest.raises(RunError, match=r"got a damaged or missing file: .*images\.npy; restore it, or remove"):
        stages.run("one", {"a": 1}, saves, lambda _: None)
    assert (folder / "state").is_dir()


def test_a_stage_that_is_killed_keeps_the_seconds_of_the_killed_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hemabridge.storage.stages.BEAT_SECONDS", 0.01)

    def killed(folder: Path) -> None:
        started = time.monotonic()
        record = folder / "stage-inputs.json"
        while json.loads(record.read_text(encoding="utf-8"))["seconds"] < 0.05:
            assert time.monotonic() - started < 60
            time.sleep(0.005)
        (tmp_path / "after" / "a").mkdir(parents=True)  # what a kill at this moment leaves
        (tmp_path / "after" / "a" / record.name).write_text(record.read_text(encoding="utf-8"), encoding="utf-8")

    Stages(tmp_path / "before").run("a", {}, killed)
    told: list[tuple[str, float | None]] = []
    Stages(tmp_path / "after", lambda *call: told.append(call)).run("a", {}, lambda _: None)
    assert [name for name, _ in told] == ["a", "a"]
    assert told[0][1] is None
    assert told[1][1] is not None
    assert told[1][1] >= 0.05
    assert Stages(tmp_path / "after").seconds()["a"] == round(told[1][1], 1)


def test_a_listener_is_told_of_a_stage_that_was_done_before(tmp_path: Path) -> None:
    Stages(tmp_path).run("a", {}, lambda _: None)
    told: list[str] = []
    Stages(tmp_path, lambda name, seconds: told.append(f"{name} {seconds is not None}")).run("a", {}, lambda _: None)
    assert told == ["a True"]
