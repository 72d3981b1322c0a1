import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemabridge.data.listing import Listing, by_reason, list_images
from hemabridge.data.new_cells import list_new_cells
from hemabridge.data.simulate import HOSPITALS, simulate_cells

CELL = simulate_cells(["neutrophil"], 1, HOSPITALS["pale"], 0, 64)[0][0]


def put(path: Path, pixels: np.ndarray = CELL) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def kinds(listing: Listing) -> dict[str, tuple[str, ...]]:
    return {left.kind: left.paths for left in listing.left_out}


SYSTEM = ["__MACOSX/1.png", "@eaDir/1.png", ".Trash-1000/1.png", "$RECYCLE.BIN/1.png", "lost+found/1.png"]
SYSTEM += ["System Volume Information/1.png", "#recycle/1.png", "@Recycle/1.png", "a/@eaDir/2.png"]
SYSTEM += ["~snapshot/1.png", "@appstore/1.png", "found.000/1.png"]


def test_folders_of_systems_and_hidden_files_are_no_input(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/._1.png", "a/.x.png", "a/_x.png", "a/~$1.png", "_masks/1.png", ".git/1.png", *SYSTEM):
        put(tmp_path / name)
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"x")
    put(tmp_path / "a" / "@2.png")
    listing = list_images(tmp_path)
    assert listing.images == ("a/1.png", "a/@2.png")
    assert listing.folders == ("a",)
    left = kinds(listing)
    assert left["hidden"] == (".git/", "a/.x.png")
    assert left["beginning with _"] == ("_masks/", "a/_x.png")
    wanted = {f"{Path(name).parent.as_posix()}/" for name in SYSTEM} | {"a/._1.png", "a/~$1.png", "a/Thumbs.db"}
    assert set(left["of the operating system or storage"]) == wanted
    lines = [str(one) for one in listing.left_out]
    assert "2 hidden: .git/, a/.x.png" in lines
    assert any(line.startswith("15 of the operating system or storage: ") and line.endswith(", ...") for line in lines)


MASKS = ["1_mask.png", "mask_1.png", "1.bmp", "1.jpg", "masks/1.png", "GT/1-seg.png", "binary/1.png", "Masken/1.png"]


@pytest.mark.parametrize("mask", MASKS)
def test_masks_are_told_by_name_and_content(tmp_path: Path, mask: str) -> None:
    put(tmp_path / "1.png")
    flat = np.zeros_like(CELL)
    flat[20:40, 20:40] = 255
    put(tmp_path / mask, flat)
    assert list_images(tmp_path).images == ("1.png",)
    assert kinds(list_images(tmp_path)) == {"masks": (mask,)}
    put(tmp_path / mask)  # a photograph of that name
    assert mask in list_images(tmp_path).images


def test_photographs_with_equal_names_in_two_folders_are_images(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(6):
            put(tmp_path / name / f"{number}.png")
            (tmp_path / name / "5.png").write_bytes(b"no image")
    assert len(list_images(tmp_path).images) == 12
    put(tmp_path / "b" / "0.png", np.zeros_like(CELL))  # a blank field is no mask
    assert "b/0.png" in list_images(tmp_path).images


def test_a_path_that_is_too_long_to_be_opened_ends_nothing(tmp_path: Path) -> None:
    put(tmp_path / "1.png")
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 200, dir_fd=place)
        place, above = os.open("d" * 200, os.O_RDONLY, dir_fd=place), place
        os.close(above)
    os.close(place)
    listing = list_images(tmp_path)
    assert listing.images == ("1.png",)
    assert list(kinds(listing)) == ["with too long a path"]


def test_a_flat_picture_without_a_partner_is_an_image(tmp_path: Path) -> None:
    put(tmp_path / "1_mask.png", np.zeros_like(CELL))
    put(tmp_path / "2.png", np.zeros_like(CELL))
    put(tmp_path / "2.bmp", np.zeros_like(CELL))
    assert list_images(tmp_path).images == ("1_mask.png", "2.bmp", "2.png")


@pytest.mark.parametrize("name", ["thumb_1.png", "1-thumbnail.jpg", "thumbs/1.png"])
def test_thumbnails_are_smaller_than_what_they_show(tmp_path: Path, name: str) -> None:
    put(tmp_path / "1.png")
    put(tmp_path / name, CELL[::2, ::2])
    assert list_images(tmp_path).images == ("1.png",)
    assert kinds(list_images(tmp_path)) == {"thumbnails": (name,)}
    put(tmp_path / name)
    assert len(list_images(tmp_path).images) == 2


def test_links_that_leave_the_folder_are_no_images(tmp_path: Path) -> None:
    put(tmp_path / "outside" / "1.png")
    put(tmp_path / "site" / "a.png")
    os.symlink(tmp_path / "outside" / "1.png", tmp_path / "site" / "b.png")
    os.symlink(tmp_path / "outside", tmp_path / "site" / "below")
    listing = list_images(tmp_path / "site")
    assert (listing.images, listing.links_out) == (("a.png",), ("b.png",))
    assert kinds(listing) == {"links to folders": ("below",)}
    assert list(list_new_cells(tmp_path / "site", None, "s").failed) == ["b.png"]


def test_what_this_program_wrote_is_its_own(tmp_path: Path) -> None:
    put(tmp_path / "1.png")
    (tmp_path / "manifest.csv").write_text("path,site,class\n1.png,s,\n")
    (tmp_path / "list of mine.csv").write_text("path,site\n1.png,s\n")
    (tmp_path / "theirs.csv").write_text("file,label\n1.png,s\n")
    (tmp_path / "standardized.csv").write_text("path,status\n")
    found = kinds(list_images(tmp_path))
    assert found["of hemabridge"] == ("list of mine.csv", "manifest.csv", "standardized.csv")
    assert found["not images by name"] == ("theirs.csv",)


@pytest.mark.shared
def test_masks_beside_real_photographs(shared_data: Path) -> None:
    listing = list_images(shared_data.parent / "cases" / "masks-beside")
    assert listing.images == ("007.bmp", "025.bmp", "040.bmp")
    assert kinds(listing) == {"masks": ("007.png", "025.png", "040.png")}


@pytest.mark.shared
@pytest.mark.parametrize("site", ["clinic", "bccd", "raabin"])
def test_no_real_photograph_is_left_out(shared_data: Path, site: str) -> None:
    assert not {"masks", "thumbnails"} & set(kinds(list_images(shared_data / site)))


def test_one_line_tells_of_all_files_with_the_same_reason() -> None:
    wide = [(f"{number}.png", f"expected a cell, got {number} x 480 pixels in 'a{number}'") for number in range(5)]
    assert by_reason([*wide, ("b.png", "no image")]) == [
        "0.png, 1.png, 2.png and 2 more: expected a cell, got 0 x 480 pixels in 'a0'",
        "b.png: no image",
    ]


def test_the_folder_of_a_run_is_no_input_unless_it_is_named(tmp_path: Path) -> None:
    put(tmp_path / "ours" / "a.png")
    put(tmp_path / "runs" / "new" / "results" / "restained" / "a.png")
    for name in ("recipe.toml", "run.json"):
        (tmp_path / "runs" / "new" / name).touch()
    listing = list_images(tmp_path)
    assert (listing.images, kinds(listing)) == (("ours/a.png",), {"of hemabridge": ("runs/new/",)})
    assert list_images(tmp_path / "runs" / "new").images == ("results/restained/a.png",)
