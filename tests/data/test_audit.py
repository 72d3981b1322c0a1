import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2lab

from hemabridge.data.audit import Audit, audit
from hemabridge.data.audit.appearance import Appearance, color_profiles, site_scale
from hemabridge.data.index import index_folder
from hemabridge.data.manifest import Manifest, with_hashes
from hemabridge.fields.cell_crop import CellSize
from hemabridge.fields.red_cells import Discs
from hemabridge.imaging.files import write_image

MakeSite = Callable[..., Manifest]
DrawCell = Callable[..., NDArray[np.uint8]]
NAMES = [f"{name}/{number}.png" for name in ("lymphocyte", "neutrophil") for number in range(3)]


def with_column(manifest: Manifest, name: str, values: list[str]) -> Manifest:
    return Manifest(manifest.table.with_columns(pl.Series(name, values, dtype=pl.String)), manifest.root)


def texts(found: Audit, severity: str) -> str:
    return "\n".join(finding.text for finding in found.findings if finding.severity == severity)


def test_a_clean_site_has_no_error(tmp_path: Path, make_site: MakeSite) -> None:
    seen: list[tuple[int, int]] = []
    found = audit(make_site(tmp_path, NAMES), progress=lambda done, total: seen.append((done, total)))
    assert found.n_images == 6
    assert texts(found, "error") == ""
    assert [(count.class_name, count.n) for count in found.class_prior] == [("lymphocyte", 3), ("neutrophil", 3)]
    assert "fewer than 20 cells of lymphocyte (3), neutrophil (3)" in texts(found, "warning")
    assert "Neither patients nor slides of here are known" in texts(found, "note")
    assert "states no crop_px for here; proposed:" in texts(found, "note")
    assert seen == [(number, 6) for number in range(1, 7)]


def test_samples_of_16_bits_whose_depth_is_guessed_are_told(tmp_path: Path, cell: DrawCell) -> None:
    for number in range(4):
        values = np.rint(cell(number) / 255 * 16383).astype(np.uint16)
        (tmp_path / "even").mkdir(exist_ok=True)
        (tmp_path / "uneven").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "even" / f"{number}.tif", values, photometric="rgb")
        darker = values // 4 if number == 2 else values  # one camera, a weaker lamp
        tifffile.imwrite(tmp_path / "uneven" / f"{number}.tif", darker, photometric="rgb")
        tag = [(281, "H", 3, (16383,) * 3, True)]
        (tmp_path / "stated").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "stated" / f"{number}.tif", darker, photometric="rgb", extratags=tag)
    found = {name: audit(index_folder(tmp_path / name, name).manifest) for name in ("even", "uneven", "stated")}
    assert "16 bits" not in texts(found["even"], "error")
    assert "Images of even hold samples of 16 bits" in texts(found["even"], "note")
    assert "read as 14 bits (4, for example 0.tif, 1.tif, 2.tif)" in texts(found["even"], "note")
    assert "it would be 12 bits (1, for example 2.tif) and 14 bits (3, " in texts(found["uneven"], "error")
    assert "MaxSampleValue" in texts(found["uneven"], "error")
    assert not any("16 bits" in finding.text for finding in found["stated"].findings)


def test_of_images_that_are_used_as_a_whole_no_crop_is_proposed(tmp_path: Path, make_site: MakeSite) -> None:
    manifest = make_site(tmp_path, NAMES)
    assert "crop_px" in texts(audit(manifest), "note")
    assert "crop_px" not in texts(audit(manifest, squeezed=("here",)), "note")
    assert "crop_px" in texts(audit(manifest, squeezed=("elsewhere",)), "note")


def test_profiles_that_cannot_be_read_and_black_rows_are_told(
    tmp_path: Path, make_site: MakeSite, cell: DrawCell
) -> None:
    manifest = make_site(tmp_path, NAMES)
    assert "profile" not in texts(audit(manifest), "warning")
    Image.fromarray(cell(70)).save(tmp_path / NAMES[0], icc_profile=b"no profile")
    incomplete = cell(71)
    incomplete[-9:] = 0
    Image.fromarray(incomplete).save(tmp_path / NAMES[1])
    warnings = texts(audit(index_folder(tmp_path, "here").manifest), "warning")
    assert f"The color profile cannot be read: 1 image ({NAMES[0]})" in warnings
    assert f"Rows at an edge are black: 1 image ({NAMES[1]})" in warnings


def test_copies_across_the_split_and_classes_are_errors(tmp_path: Path, make_site: MakeSite, cell: DrawCell) -> None:
    make_site(tmp_path, NAMES)
    shutil.copy(tmp_path / NAMES[0], tmp_path / "neutrophil/copy.png")
    write_image(tmp_path / "lymphocyte/again.jpg", cell(1))
    manifest = index_folder(tmp_path, "here").manifest
    parts = ["test" if path.endswith(("copy.png", ".jpg")) else "train" for path in manifest.column("path")]
    found = audit(with_column(manifest, "split", parts))
    groups = [(group.kind, group.crosses, [member.path for member in group.members]) for group in found.duplicates]
    assert groups == [
        ("exact", ("split", "class"), ["lymphocyte/0.png", "neutrophil/copy.png"]),
        ("near", ("split",), ["lymphocyte/1.png", "lymphocyte/again.jpg"]),
    ]
    errors = texts(found, "error")
    assert "(2 images in 1 group, for example lymphocyte/0.png, neutrophil/copy.png) are in several parts" in errors
    assert "mirrored, turned, resized or cropped) (2 images in 1 group" in errors
    assert "different classes" in errors
    assert found.findings[0].severity == "error"


def test_images_too_small_to_show_a_cell(tmp_path: Path, make_site: MakeSite, cell: DrawCell) -> None:
    manifest = make_site(tmp_path, NAMES)
    write_image(tmp_path / NAMES[1], cell(3)[:5, :5])
    found = audit(manifest)
    assert [unreadable.path for unreadable in found.unreadable] == [NAMES[1]]
    assert "at least 8 x 8 pixels, to show a cell, got 5 x 5" in found.unreadable[0].reason


def test_files_that_broke_or_changed_or_show_nothing(tmp_path: Path, make_site: MakeSite, cell: DrawCell) -> None:
    manifest = with_hashes(make_site(tmp_path, NAMES))
    (tmp_path / NAMES[0]).write_bytes(b"broken")
    write_image(tmp_path / NAMES[1], cell(77))
    write_image(tmp_path / NAMES[2], np.full((96, 96, 3), 230, dtype=np.uint8))
    found = audit(manifest)
    assert [unreadable.path for unreadable in found.unreadable] == [NAMES[0]]
    assert found.blank == (NAMES[2],)
    assert "1 image cannot be used, for example lymphocyte/0.png" in texts(found, "error")
    assert "2 files changed since the manifest was made (lymphocyte/1.png, lymphocyte/2.png)" in texts(found, "error")
    assert "Without any detail: 1 image (lymphocyte/2.png)" in texts(found, "warning")
    assert "No nucleus was found in 1 of 5 measured images" in texts(found, "warning")


def test_patients_in_several_parts_are_an_error(tmp_path: Path, make_site: MakeSite) -> None:
    manifest = with_column(make_site(tmp_path, NAMES), "split", ["train"] * 3 + ["test"] * 3)
    found = audit(with_column(manifest, "patient", ["p1", "p1", "p2", "p3", "p1", "p4"]))
    assert "images of patient p1 are in several parts (test, train)" in texts(found, "error")
    assert "Part test of here has no cell of lymphocyte" in texts(found, "warning")
    assert "Neither patients" not in texts(found, "note")


def test_two_manifests_share_an_image_and_differ_in_scale(tmp_path: Path, make_site: MakeSite) -> None:
    first = make_site(tmp_path / "1", NAMES, site="near", nucleus_px=30)
    make_site(tmp_path / "2", [*NAMES[:3], "blast/1.png"], site="far", first_seed=20, nucleus_px=45)
    shutil.copy(tmp_path / "1" / NAMES[5], tmp_path / "2" / "blast/2.png")
    found = audit(first, other=index_folder(tmp_path / "2", "far").manifest)
    assert [group.crosses for group in found.duplicates] == [("manifest", "site", "class")]
    assert "both manifests, which should share no image" in texts(found, "error")
    assert "Nuclei of far are 1.5 times as wide in pixels as those of near" in texts(found, "warning")
    assert "near has no blast, but far has" in texts(found, "note")
    assert {scale.site: scale.n for scale in found.scales} == {"near": 6, "far": 5}


def test_a_stated_crop_that_does_not_fit_is_a_warning(tmp_path: Path, make_site: MakeSite) -> None:
    found = audit(make_site(tmp_path, NAMES).with_crop_px(200))
    assert "states crop_px 200 for here, its cells suggest" in texts(found, "warning")
    assert found.scales[0].stated_crop_px == (200,)


def test_stated_crops_that_match_are_not_proposed_anew(tmp_path: Path, make_site: MakeSite) -> None:
    near = make_site(tmp_path / "1", NAMES, site="near", nucleus_px=30)
    far = make_site(tmp_path / "2", NAMES, site="far", first_seed=20, nucleus_px=45)
    proposed = [scale.proposed_crop_px for scale in audit(near, other=far).scales]
    assert None not in proposed
    small, large = (crop or 0 for crop in proposed)

    def warned(stated_near: int | None, stated_far: int | None) -> str:
        first = near if stated_near is None else near.with_crop_px(stated_near)
        return texts(audit(first, other=far if stated_far is None else far.with_crop_px(stated_far)), "warning")

    assert "use the crops" not in warned(small - 2, large + 2)
    assert f"use the crops of {large} and {small - 2} pixels" in warned(small - 2, None)
    assert f"use the crops of {large} and {small} pixels" in warned(small, small)
    low, high = round(small * 1.15), round(large / 1.15)  # each fits by itself
    assert f"use the crops of {large} and {small} pixels" in warned(low, high)


def test_images_are_compared_with_the_crop_that_is_stated(tmp_path: Path, make_site: MakeSite) -> None:
    site = make_site(tmp_path, NAMES, nucleus_px=56)
    assert "smaller (96 pixels) than the proposed crop (" in texts(audit(site), "note")
    assert "smaller" not in texts(audit(site.with_crop_px(96)), "note")
    assert "smaller (96 pixels) than the stated crop (97)" in texts(audit(site.with_crop_px(97)), "note")


def test_one_class_in_two_ways_of_writing_is_an_error(tmp_path: Path, make_site: MakeSite) -> None:
    manifest = with_column(make_site(tmp_path, NAMES), "class", ["Blast", "blast", "blast", "other", "other", ""])
    found = audit(manifest)
    assert "writes one class in several ways (Blast, blast)" in texts(found, "error")
    assert "No class is known for 1 image of here" in texts(found, "note")


def test_colors_are_medians_over_images_in_lab() -> None:
    rgb = [np.array(color, dtype=np.float64) for color in ((250, 240, 230), (200, 190, 210), (180, 180, 180))]
    profiles = color_profiles(
        1, "x", [Appearance({"background": color}, CellSize(None, Discs.of([])), 9) for color in rgb]
    )
    lab = rgb2lab(np.array(rgb)[None] / 255)[0]
    assert [(profile.compartment, profile.n) for profile in profiles] == [("background", 3)]
    np.testing.assert_allclose(profiles[0].lab, np.median(lab, axis=0), atol=2e-3)
    quartiles = np.percentile(lab, (25, 75), axis=0)
    np.testing.assert_allclose(profiles[0].lab_iqr, quartiles[1] - quartiles[0], atol=2e-3)
    np.testing.assert_allclose(profiles[0].optical_density, -np.log10(np.array([200, 190, 210]) / 255), atol=1e-3)


def test_scale_is_told_by_quartiles_and_stays_unknown_without_nuclei() -> None:
    scale = site_scale(
        1, "x", [Appearance({}, CellSize(float(px), Discs.of([])), 70) for px in (10, 20, 30, 40, 50)], [80, 80]
    )
    assert scale.nucleus_px == (20, 30, 40)
    assert (scale.n, scale.n_nuclei, scale.stated_crop_px, scale.smallest_side_px) == (5, 5, (80,), 70)
    nothing = site_scale(1, "x", [Appearance({}, CellSize(None, Discs.of([])), 70)], [])
    assert (nothing.nucleus_px, nothing.proposed_crop_px, nothing.n_nuclei) == (None, None, 0)


def test_json_holds_everything(tmp_path: Path, make_site: MakeSite) -> None:
    found = audit(make_site(tmp_path, NAMES))
    data = json.loads(found.to_json())
    assert data["format"] == 1
    assert data["n_images"] == 6
    assert [finding["text"] for finding in data["findings"]] == [finding.text for finding in found.findings]
    assert {profile["compartment"] for profile in data["colors"]} >= {"nucleus", "background"}


@pytest.mark.shared
@pytest.mark.slow
def test_the_real_sites_tell_their_known_faults(shared_data: Path) -> None:
    clinic = index_folder(shared_data / "clinic", "clinic").manifest
    few = clinic.select([row % 20 == 0 for row in range(len(clinic))])
    found = audit(index_folder(shared_data / "tecom", "tecom").manifest, other=few)
    assert "2 images in 1 group, for example lymphocyte/112.bmp, lymphocyte/139.bmp" in texts(found, "warning")
    assert "tecom has fewer than 20 cells of basophil (1)" in texts(found, "warning")
    assert "The background of tecom varies widely" in texts(found, "warning")
    assert "The background color of clinic and tecom differs" in texts(found, "note")
    crops = {scale.site: scale.proposed_crop_px for scale in found.scales}
    assert crops["tecom"] == pytest.approx(90, rel=0.1)
    assert crops["clinic"] == pytest.approx(180, rel=0.15)
