import json
import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hemabridge.data.manifest import read_manifest
from hemabridge.errors import ManifestError
from hemabridge.imaging.files import read_image


@pytest.fixture
def site(hospitals: Path, tmp_path: Path) -> Path:
    """The folder of a site without a manifest."""
    folder = Path(shutil.copytree(hospitals / "clinic-like", tmp_path / "clinic"))
    (folder / "manifest.csv").unlink()
    return folder


def test_simulate_writes_what_was_asked_for(run: Callable, tmp_path: Path) -> None:
    out = tmp_path / "s"
    chosen = ["--hospital", "pale", "--class", "blast", "--class", "monocyte"]
    ended = run("simulate", out, *chosen, "--n-per-class", 2, "--size-px", 24)
    assert ended.code == 0
    assert ended.out.startswith(f"4 cells in {out}: a folder and a manifest.csv per hospital")
    assert sorted(path.name for path in out.iterdir()) == ["pale", "sheet.png", "simulation.json", "truth"]
    assert Counter(read_manifest(out / "pale" / "manifest.csv").column("class")) == {"blast": 2, "monocyte": 2}
    assert read_image(next(out.rglob("blast/*.png"))).shape == (24, 24, 3)
    assert "rendering: 8 of 8" in ended.err


def test_the_same_seed_gives_the_same_cells(run: Callable, tmp_path: Path) -> None:
    size = ["--hospital", "pale", "--class", "blast", "--n-per-class", "1", "--size-px", "24"]
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert run("simulate", tmp_path / name, *size, "--seed", seed).code == 0
    first, second, other = (next((tmp_path / n / "pale").rglob("*.png")).read_bytes() for n in "abc")
    assert first == second != other


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--hospital", "atlantis"], "expected different hospitals out of clinic-like"),
        (["--class", "platypus"], "platypus"),
        (["--hospital", "pale", "--hospital", "pale"], "expected different hospitals"),
    ],
)
def test_simulate_refuses_what_it_does_not_know(run: Callable, tmp_path: Path, arguments: list[str], told: str) -> None:
    ended = run("simulate", tmp_path / "s", *arguments)
    assert ended.code == 2
    assert ended.err.startswith("hemabridge: expected")
    assert told in ended.err
    assert not (tmp_path / "s").exists()


def test_restyle_photographs_real_cells_under_named_and_random_hospitals(
    run: Callable, tmp_path: Path, hospitals: Path
) -> None:
    out = tmp_path / "out"
    manifest = hospitals / "clinic-like" / "manifest.csv"
    chosen = ["--hospital", "pale", "--random", 1, "--strength", 0.5, "--n-per-class", 1, "--size-px", 24]
    ended = run("restyle", manifest, out, *chosen)
    assert ended.code == 0
    n_classes = len(set(read_manifest(manifest).column("class")))
    assert ended.out == f"{n_classes} images under 2 hospitals in {out}; sheet.png shows them.\n"
    assert f"photographing: {2 * n_classes} of {2 * n_classes}" in ended.err
    assert len(read_manifest(out / "pale" / "manifest.csv")) == n_classes


def test_restyle_refuses_what_it_does_not_know(run: Callable, tmp_path: Path, hospitals: Path) -> None:
    manifest = hospitals / "clinic-like" / "manifest.csv"
    for wrong, told in ((["--hospital", "atlantis"], "different hospitals"), (["--class", "platypus"], "platypus")):
        ended = run("restyle", manifest, tmp_path / "out", *wrong)
        assert ended.code == 2
        assert told in ended.err
    ended = run("restyle", manifest, tmp_path / "out", "--random", 1, "--strength", 0.0)
    assert "expected a strength above 0" in ended.err


def test_sheet_draws_a_picture(run: Callable, tmp_path: Path, hospitals: Path) -> None:
    out = tmp_path / "sheet.png"
    ended = run("sheet", out, "--size-px", 16, "--beside", hospitals / "truth", "--beside-crop-px", 32)
    assert (ended.code, ended.out) == (0, f"The sheet is {out}.\n")
    assert read_image(out).shape[1] > 10 * 16


def test_index_then_audit_then_split(run: Callable, site: Path, tmp_path: Path) -> None:
    (site / "neutrophil" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    ended = run("index", site, "--site", "clinic", "--crop-px", 32)
    assert ended.code == 1  # not all of it could be read
    assert ended.out.splitlines() == [
        f"24 images in {site / 'manifest.csv'}, 1 unreadable files.",
        "Classes: lymphocyte 12, neutrophil 12.",
    ]
    assert "left out: neutrophil/cut.png: " in ended.err

    found = tmp_path / "audit.json"
    ended = run("audit", site / "manifest.csv", "--out", found)
    assert ended.code == 0
    assert all(
        line.partition(":")[0] in ("info", "note", "warning", "problem", "error") for line in ended.out.splitlines()
    )
    assert json.loads(found.read_text())["findings"]

    ended = run("split", site / "manifest.csv", "--part", "train=0.5", "--part", "test=0.5", "--seed", 1)
    assert (ended.code, ended.out) == (0, "train: 12 images\ntest: 12 images\n")
    manifest = read_manifest(site / "manifest.csv")
    assert Counter(zip(manifest.column("class"), manifest.column("split"), strict=True)) == {
        (name, part): 6 for name in ("neutrophil", "lymphocyte") for part in ("train", "test")
    }
    assert set(manifest.column("crop_px")) == {32}


def test_audit_tells_a_script_of_errors_and_of_files_that_cannot_be_used(run: Callable, site: Path) -> None:
    assert run("index", site, "--site", "clinic", "--crop-px", 32).code == 0
    files = sorted(site.glob("*/*.png"))
    for file in files[:3]:
        file.write_bytes(b"no image")
    assert run("audit", site / "manifest.csv").code == 0
    ended = run("audit", site / "manifest.csv", "--strict")
    assert ended.code == 3
    assert "error: 3 images cannot be used" in ended.out
    for file in files[:13]:
        file.write_bytes(b"no image")
    assert run("audit", site / "manifest.csv").code == 1


def test_index_says_one_line_for_each_kind(run: Callable, site: Path) -> None:
    for number in range(9):
        (site / "neutrophil" / f"cut{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        (site / f"empty{number}").mkdir()
        (site / "neutrophil" / f"._{number}.png").write_bytes(b"x")
    ended = run("index", site, "--site", "clinic")
    told = [line for line in ended.err.splitlines() if not line.startswith("indexing")]
    assert len(told) == 3
    assert told[0].startswith("left out: neutrophil/cut0.png, neutrophil/cut1.png, neutrophil/cut2.png and 6 more: ")
    assert told[1].startswith("left out: 9 of the operating system or storage: neutrophil/._0.png, ")
    assert told[2] == "without an image: 9 folders: empty0, empty1, empty2, ..."


def test_index_takes_the_levels_of_classes_and_patients(run: Callable, site: Path, tmp_path: Path) -> None:
    for patient in "uvw":
        shutil.copytree(site / "neutrophil", tmp_path / "new" / patient / "one")
        shutil.copytree(site / "lymphocyte", tmp_path / "new" / patient / "two")
    ended = run("index", tmp_path / "new", "--site", "s")
    assert ended.code == 2
    assert "--classes-at N" in ended.err
    ended = run("index", tmp_path / "new", "--site", "s", "--classes-at", 2, "--patients-at", 1)
    assert ended.code == 0
    assert ended.out.endswith("Classes: one 36, two 36; 3 patients.\n")


def test_index_tells_what_it_leaves_out(run: Callable, site: Path) -> None:
    assert run("index", site, "--site", "clinic").err.count("left out") == 0
    assert "left out" not in run("index", site, "--site", "clinic", "--replace").err
    (site / "basophil").mkdir()
    (site / "basophil" / "1.avif").touch()
    ended = run("index", site, "--site", "clinic", "--replace")
    assert ended.code == 0
    assert "left out: 1 not images by name: basophil/1.avif\n" in ended.err
    assert "without an image: 1 folder: basophil\n" in ended.err


def test_a_manifest_may_lie_elsewhere(run: Callable, site: Path, tmp_path: Path) -> None:
    out = tmp_path / "lists" / "clinic.csv"
    assert run("index", site, "--site", "clinic", "--out", out).code == 0
    ended = run("audit", out)
    assert ended.code == 2
    assert "--root" in ended.err
    assert run("audit", out, "--root", site).code == 0
    assert run("split", out, "--root", site, "--out", tmp_path / "split.csv").code == 0
    assert set(read_manifest(tmp_path / "split.csv", site).column("split")) == {"train", "validation", "test"}
    assert not (site / "manifest.csv").exists()


def test_two_sites_are_compared(run: Callable, hospitals: Path) -> None:
    here, there = (hospitals / name / "manifest.csv" for name in ("clinic-like", "yellow-field"))
    alone, both = run("audit", here), run("audit", here, "--other", there)
    assert (alone.code, both.code) == (0, 0)
    assert "yellow-field" in both.out
    assert "yellow-field" not in alone.out


def test_nothing_is_overwritten_unasked(run: Callable, site: Path) -> None:
    assert run("index", site, "--site", "clinic").code == 0
    ended = run("index", site, "--site", "other")
    assert ended.code == 2
    assert "--replace" in ended.err
    assert set(read_manifest(site / "manifest.csv").column("site")) == {"clinic"}
    assert run("index", site, "--site", "other", "--replace").code == 0
    assert set(read_manifest(site / "manifest.csv").column("site")) == {"other"}
    assert run("split", site / "manifest.csv").code == 0
    assert "--replace" in run("split", site / "manifest.csv").err
    assert run("split", site / "manifest.csv", "--replace", "--seed", "5").code == 0


@pytest.mark.parametrize("part", ["train", "train=", "train=much", "=0.5"])
def test_parts_that_are_none_are_refused(run: Callable, hospitals: Path, part: str) -> None:
    ended = run("split", hospitals / "truth" / "manifest.csv", "--part", part, "--part", "test=0.5")
    assert ended.code == 2
    assert ended.err.startswith("hemabridge: expected")


@pytest.mark.parametrize("share", ["0.9", "nan", "inf", "-0.5", "0"])
def test_shares_that_do_not_make_a_whole_are_refused(run: Callable, hospitals: Path, share: str) -> None:
    ended = run("split", hospitals / "truth" / "manifest.csv", "--part", f"train={share}", "--part", "test=0.5")
    assert ended.code == 2
    assert "expected fractions above 0 that sum to 1" in ended.err


def test_a_part_that_is_given_twice_is_refused(run: Callable, hospitals: Path) -> None:
    arguments = ["--part", "train=0.5", "--part", "train=0.4", "--part", "test=0.6"]
    ended = run("split", hospitals / "truth" / "manifest.csv", *arguments)
    assert ended.code == 2
    assert "expected each --part once" in ended.err


@pytest.mark.parametrize(
    "arguments", [["index", "nowhere", "--site", "x"], ["audit", "nowhere.csv"], ["split", "nowhere.csv"]]
)
def test_what_is_not_there_is_told(run: Callable, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("hemabridge: expected")
    assert "nowhere" in ended.err
    assert ended.err.count("\n") == 1


def test_the_advised_index_command_works_as_printed(run: Callable, hospitals: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(hospitals / "truth", tmp_path / "new hospital"))
    (folder / "manifest.csv").unlink()
    with pytest.raises(ManifestError) as error:
        read_manifest(folder)
    program, *words = shlex.split(str(error.value).split("`")[1])
    assert program == "hemabridge"
    assert run(*words).code == 0
    assert set(read_manifest(folder / "manifest.csv").column("site")) == {"new hospital"}


@pytest.mark.parametrize("command", [("index", "IN", "--site", "x"), ("find", "IN", "OUT")])
def test_links_to_folders_are_told_as_such(
    run: Callable, hospitals: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "linked").symlink_to(hospitals / "truth")
    places = {"IN": tmp_path / "in", "OUT": tmp_path / "out"}
    ended = run(*(places.get(word, word) for word in command))
    assert ended.code != 0
    assert (
        "got other files (1 links to folders: linked); links to folders are not followed: name the folder" in ended.err
    )
