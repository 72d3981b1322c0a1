"""A single image in the place of a folder is refused in words that say what to name instead."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hemabridge.data.manifest import read_manifest
from hemabridge.data.new_cells import list_new_cells
from hemabridge.errors import InputError, ManifestError
from hemabridge.normalizers.white_point import WhitePoint


@pytest.mark.parametrize(
    "arguments",
    [
        ["adapt", "OURS", "IMAGE", "--out", "OUT"],
        ["classify", "MODEL", "IMAGE", "OUT"],
        ["differential", "MODEL", "IMAGE", "OUT"],
        ["find", "IMAGE", "OUT"],
        ["fit", "white-point", "IMAGE", "OURS", "OUT.json"],
        ["fit", "white-point", "OURS", "IMAGE", "OUT.json"],
        ["guard", "MODEL", "IMAGE"],
        ["index", "IMAGE", "--site", "here"],
        ["run", "MODEL", "IMAGE", "OUT"],
        ["standardize", "MODEL", "IMAGE", "OUT"],
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_the_folder_is_asked_for(run: Callable, hospitals: Path, tmp_path: Path, arguments: list[str]) -> None:
    ours = hospitals / "clinic-like"
    image = next(ours.rglob("*.png"))
    (tmp_path / "model.json").write_text(WhitePoint(target_white=(255.0, 255.0, 255.0)).to_json())
    given = {"OURS": ours, "IMAGE": image, "MODEL": tmp_path / "model.json", "OUT": tmp_path / "out"}
    given["OUT.json"] = tmp_path / "out.json"
    ended = run(*(given.get(argument, argument) for argument in arguments))
    assert ended.code == 2
    assert f"got a file: {image}; name the folder that holds the image" in ended.err
    assert not (tmp_path / "out").exists()


def test_the_folder_is_asked_for_where_a_manifest_could_be_given(hospitals: Path) -> None:
    image = next(hospitals.rglob("*.png"))  # as by `evaluate` and `label`
    with pytest.raises(InputError, match=r"got a file: .*\.png; name the folder that holds the image"):
        list_new_cells(image, None, "new")
    with pytest.raises(ManifestError, match=r"expected a manifest \(CSV file\), got the image .*\.png; make one: "):
        read_manifest(image)
