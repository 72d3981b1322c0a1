from pathlib import Path

import numpy as np
import pytest

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import HemabridgeError, InputError, ManifestError
from hemabridge.imaging.files import write_image
from hemabridge.imaging.standardizer import UInt8Images
from hemabridge.normalizers.by_subdomain import BySubdomain
from hemabridge.normalizers.catalog import fit_on_cells, normalizer_from_json
from hemabridge.normalizers.images import CELL_PX
from hemabridge.normalizers.white_point import WhitePoint
from hemabridge.workflows.fit import Fitted, fit
from hemabridge.workflows.index import index


@pytest.fixture
def cells(tmp_path: Path) -> dict[str, UInt8Images]:
    """Twelve cells of each hospital, also written to a folder of its name, with a text and a broken image beside."""
    made = {}
    for seed, name in enumerate(("yellow-field", "clinic-like")):
        made[name], _ = simulate_cells(("neutrophil", "monocyte"), 6, HOSPITALS[name], seed, CELL_PX)
        (tmp_path / name).mkdir()
        for number, cell in enumerate(made[name]):
            write_image(tmp_path / name / f"{number:02d}.png", cell)
        (tmp_path / name / "notes.txt").write_text("none", encoding="utf-8")
        (tmp_path / name / "broken.png").write_bytes(b"none")
    return made


def test_it_fits_what_the_catalog_would_on_the_same_cells(tmp_path: Path, cells: dict[str, UInt8Images]) -> None:
    out = tmp_path / "linear-ot.json"
    source, target = tmp_path / "yellow-field", tmp_path / "clinic-like"
    fitted = fit("linear-ot", source, target, out, source_crop_px=CELL_PX, target_crop_px=CELL_PX)
    wanted = fit_on_cells("linear-ot", cells["yellow-field"], cells["clinic-like"])
    images = cells["yellow-field"]
    np.testing.assert_array_equal(
        normalizer_from_json(out.read_text(encoding="utf-8")).standardize(images), wanted.standardize(images)
    )
    assert fitted.normalizer == normalizer_from_json(out.read_text(encoding="utf-8"))
    assert list(fitted.subdomains.values()) == [12]


@pytest.mark.slow
def test_each_subdomain_of_a_folder_is_fitted_for_itself_if_asked(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    for name, folder, count in (("yellow-field", "source", 16), ("blue-shifted", "source", 15), ("pale", "target", 5)):
        for number, cell in enumerate(simulate_cells(("neutrophil", "monocyte"), count, HOSPITALS[name], 0, 48)[0]):
            write_image(tmp_path / folder / f"{name}-{number:02d}.png", cell)

    def run(out: str, *, each_subdomain: bool) -> Fitted:
        source, target = tmp_path / "source", tmp_path / "target"
        return fit(
            "white-point",
            source,
            target,
            tmp_path / out,
            source_crop_px=48,
            target_crop_px=48,
            each_subdomain=each_subdomain,
        )

    one, each = run("one.json", each_subdomain=False), run("each.json", each_subdomain=True)
    assert isinstance(one.normalizer, WhitePoint)
    assert isinstance(each.normalizer, BySubdomain)
    assert [own.method for own in each.normalizer.normalizers] == ["white-point"] * 2
    assert one.subdomains == each.subdomains
    assert sorted(one.subdomains.values()) == [30, 32]
    assert normalizer_from_json((tmp_path / "each.json").read_text(encoding="utf-8")) == each.normalizer


@pytest.mark.parametrize(
    ("method", "out", "told"),
    [
        ("macenk", "m.json", "did you mean 'macenko'"),
        ("macenko", "m.txt", "named .json"),
        ("macenko", "there.json", "a new file"),
        ("macenko", "none/m.json", "a folder that exists"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_image_is_read(method: str, out: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "there.json").touch()
    with pytest.raises(InputError, match=told):
        fit(method, tmp_path / "no", tmp_path / "no", tmp_path / out)


def test_a_folder_without_cells_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "blank").mkdir()
    write_image(tmp_path / "blank" / "1.png", np.full((40, 40, 3), 255, np.uint8))
    with pytest.raises(HemabridgeError, match="nucle"):
        fit("macenko", tmp_path / "blank", tmp_path / "blank", tmp_path / "m.json")
    assert not (tmp_path / "m.json").exists()


@pytest.mark.parametrize("how", ["folders", "manifest"])
def test_a_labeled_source_and_an_unlabeled_target_are_perhaps_swapped(
    how: str, tmp_path: Path, cells: dict[str, UInt8Images]
) -> None:
    flat, labeled = tmp_path / "yellow-field", tmp_path / "labeled"
    for number, cell in enumerate(cells["clinic-like"]):
        name = "neutrophil" if number < 6 else "monocyte"
        folder = labeled / name if how == "folders" else labeled
        write_image(folder / f"{number:02d}.png", cell)
    if how == "manifest":
        rows = [f"{number:02d}.png,ours,{'neutrophil' if number < 6 else 'monocyte'}" for number in range(12)]
        (labeled / "manifest.csv").write_text("\n".join(["path,site,class", *rows]), encoding="utf-8")

    def swapped(source: Path, target: Path, out: str) -> bool:
        sizes = {"source_crop_px": CELL_PX, "target_crop_px": CELL_PX}
        return fit("white-point", source, target, tmp_path / out, **sizes).perhaps_swapped

    assert swapped(labeled, flat, "a.json")
    assert not swapped(flat, labeled, "b.json")
    assert not swapped(labeled, labeled, "c.json")
    assert not swapped(flat, tmp_path / "clinic-like", "d.json")


def test_gray_pictures_are_told_and_a_gray_folder_is_refused(tmp_path: Path, cells: dict[str, UInt8Images]) -> None:
    gray, some = tmp_path / "gray", tmp_path / "some"
    for number, cell in enumerate(cells["clinic-like"]):
        flat = np.repeat(cell.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
        write_image(gray / f"{number:02d}.png", flat)
        write_image(some / f"{number:02d}.png", flat if number == 3 else cell)
    said: list[str] = []
    sizes = {"source_crop_px": CELL_PX, "target_crop_px": CELL_PX}
    here = tmp_path / "clinic-like"
    fit("white-point", some, here, tmp_path / "a.json", **sizes, progress=lambda label, *_: said.append(label))
    assert any(line.startswith(f"warning: {some} has 12 images; with fewer than 20 of each folder, ") for line in said)
    assert f"warning: 1 of 12 images of {some} are gray, and nothing can be learned from them: 03.png" in said
    for pair in ((gray, here), (here, gray)):
        with pytest.raises(ManifestError, match=r"expected stained cells in color in \S+gray, got 12 gray pictures"):
            fit("white-point", *pair, tmp_path / "b.json", **sizes)
    assert index(gray, "here").warning.startswith("warning: expected stained cells in color")


def test_a_fit_into_an_existing_file_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"got one that exists: .*mine\.json; name another one, or remove it first"):
        fit("macenko", tmp_path, tmp_path, tmp_path / "mine.json")
    with pytest.raises(
        InputError, match=r"expected a file that is named \.json, got .*mine\.txt; name it mine\.txt\.json"
    ):
        fit("macenko", tmp_path, tmp_path, tmp_path / "mine.txt")
    assert (tmp_path / "mine.json").read_text(encoding="utf-8") == "mine"
