import json
import shutil

import numpy as np
import pytest

from hemabridge.data.manifest import make_manifest, read_manifest, write_manifest
from hemabridge.data.simulate import HOSPITALS, TARGET, measured_reference, photograph, simulate_cells
from hemabridge.errors import ImageError, InputError, ManifestError, RunError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.provenance import SyntheticOrigin, read_origin, write_synthetic
from hemabridge.imaging.scale import scale_matched
from hemabridge.storage.files import sha256_of
from hemabridge.storage.run_folder import hold_folder
from hemabridge.workflows.restyle import ORIGIN, find_or_draw, restyle

NAMES = ("monocyte/one.jpg", "monocyte/two.png", "blast/one.png")
PALE = HOSPITALS["pale"]


@pytest.fixture(scope="module")
def drawn():
    """Three pictures of 48 x 40 pixels."""
    return simulate_cells(("monocyte", "blast"), 2, HOSPITALS[TARGET], 0, 48)[0][:3, :, 4:44]


@pytest.fixture
def site(tmp_path, drawn):
    """A manifest with all that is known of three images."""
    folder = tmp_path / "clinic"
    for name, image in zip(NAMES, drawn, strict=True):
        write_image(folder / name, image)
    columns = {
        "path": NAMES,
        "site": ["clinic"] * 3,
        "class": ["monocyte", "monocyte", "blast"],
        "patient": ["p1", "p2", ""],
        "slide": ["s1", "", "s3"],
        "split": ["train", "test", "train"],
        "crop_px": [36] * 3,
    }
    write_manifest(make_manifest(columns, folder), folder / "manifest.csv")
    return folder / "manifest.csv"


def test_each_hospital_has_the_same_images_with_all_that_is_known_of_them(site, tmp_path):
    calls = []
    done = restyle(site, tmp_path / "out", [PALE, HOSPITALS["near"]], progress=lambda *told: calls.append(told))
    assert done.n_images == 3
    assert list(done.manifests) == ["pale", "near"]
    before, after = read_manifest(site), read_manifest(done.manifests["pale"])
    assert after.column("path") == ["monocyte/one.png", "monocyte/two.png", "blast/one.png"]
    assert set(after.column("site")) == {"clinic-pale"}
    for kept in ("class", "patient", "slide", "split", "crop_px"):
        assert after.column(kept) == before.column(kept)
    assert after.column("sha256") == [sha256_of(path) for path in after.paths()]
    assert read_image(after.paths()[0]).shape == (48, 40, 3)
    assert calls == [("photographing", count, 6) for count in range(1, 7)]


def test_an_image_is_what_photograph_makes_of_it_at_its_scale(site, tmp_path):
    done = restyle(site, tmp_path / "out", [PALE], seed=3)
    originals = [read_image(path) for path in read_manifest(site).paths()]
    reference = measured_reference(originals)
    expected = photograph(originals[1][None], PALE, reference=reference, um_per_px=0.5, seed=3)[0]
    np.testing.assert_array_equal(read_image(read_manifest(done.manifests["pale"]).paths()[1]), expected)


def test_with_a_size_the_central_square_is_photographed_alone(site, tmp_path):
    done = restyle(site, tmp_path / "out", [PALE], size_px=24)
    manifest = read_manifest(done.manifests["pale"])
    assert set(manifest.column("crop_px")) == set(manifest.column("width")) == {24}
    originals = [read_image(path) for path in read_manifest(site).paths()]
    square = scale_matched(originals[2], 36, 24)
    expected = photograph(square[None], PALE, reference=measured_reference(originals))[0]
    np.testing.assert_array_equal(read_image(manifest.paths()[2]), expected)


def test_the_same_call_goes_on_and_makes_only_what_is_missing(site, tmp_path):
    out = tmp_path / "out"
    done = restyle(site, out, [PALE])
    first, second, _ = read_manifest(done.manifests["pale"]).paths()
    whole, stamp = second.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    done.manifests["pale"].unlink()
    again = restyle(site, out, [PALE, HOSPITALS["near"]])
    assert second.read_bytes() == whole
    assert first.stat().st_mtime_ns == stamp
    assert len(read_manifest(again.manifests["pale"])) == len(read_manifest(again.manifests["near"])) == 3


@pytest.mark.parametrize(
    ("changes", "named"), [({"seed": 1}, "seed"), ({"size_px": 24}, "size_px"), ({"crop_px": 30}, "images")]
)
def test_another_restyle_is_not_mixed_in(site, tmp_path, changes, named):
    restyle(site, tmp_path / "out", [PALE])
    with pytest.raises(InputError, match=f"expected the same {named} as before"):
        restyle(site, tmp_path / "out", [PALE], **changes)


def test_a_damaged_record_and_other_files_are_refused(site, tmp_path):
    out = tmp_path / "out"
    restyle(site, out, [PALE])
    (out / "pale" / ORIGIN).write_text("[]")
    with pytest.raises(InputError, match="got a list instead of an object"):
        restyle(site, out, [PALE])
    (out / "mine").mkdir()
    with pytest.raises(InputError, match="got mine in"):
        restyle(site, out, [PALE])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="got a file"):
        restyle(site, tmp_path / "file", [PALE])


def test_two_processes_do_not_share_a_folder(site, tmp_path):
    with hold_folder(tmp_path / "out"), pytest.raises(RunError, match="no other process"):
        restyle(site, tmp_path / "out", [PALE])


def test_a_folder_is_a_site_of_its_name(site, tmp_path):
    site.unlink()
    done = restyle(site.parent, tmp_path / "out", [PALE], crop_px=36, n_per_class=1)
    manifest = read_manifest(done.manifests["pale"])
    assert sorted(manifest.column("class")) == ["blast", "monocyte"]
    assert set(manifest.column("site")) == {"clinic-pale"}
    assert set(manifest.column("crop_px")) == {36}


def test_a_folder_keeps_its_originals_and_must_be_readable(site, tmp_path):
    site.unlink()
    with pytest.raises(InputError, match="originals are never touched"):
        restyle(site.parent, site.parent / "out", [PALE])
    with pytest.raises(InputError, match="root only with a manifest"):
        restyle(site.parent, tmp_path / "out", [PALE], root=tmp_path)
    (site.parent / "blast" / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"blast/broken\.png"):
        restyle(site.parent, tmp_path / "out", [PALE])


def test_classes_are_chosen_by_name(site, tmp_path):
    done = restyle(site, tmp_path / "out", [PALE], classes=["blast"])
    assert read_manifest(done.manifests["pale"]).column("path") == ["blast/one.png"]
    with pytest.raises(ManifestError, match="expected classes out of blast, monocyte; got platypus"):
        restyle(site, tmp_path / "other", [PALE], classes=["platypus"])
    with pytest.raises(InputError, match="n_per_class of at least 1"):
        restyle(site, tmp_path / "other", [PALE], n_per_class=0)


def test_two_images_never_become_one(site, tmp_path):
    shutil.copy(site.parent / NAMES[0], site.parent / "monocyte" / "two.jpg")
    columns = {"path": ["monocyte/two.jpg", "monocyte/two.png"], "site": ["clinic"] * 2, "crop_px": [36, 36]}
    write_manifest(make_manifest(columns, site.parent), site)
    with pytest.raises(ManifestError, match=r"got two for monocyte/two\.png"):
        restyle(site, tmp_path / "out", [PALE])


def test_a_scale_for_some_images_only_is_refused(site, tmp_path):
    columns = {"path": NAMES, "site": ["clinic"] * 3, "crop_px": [36, "", 36]}
    write_manifest(make_manifest(columns, site.parent), site)
    with pytest.raises(ManifestError, match="got it for 2 of 3"):
        restyle(site, tmp_path / "out", [PALE])


def test_the_record_says_what_the_hospital_was(site, tmp_path):
    random = find_or_draw(None, 1, 0.7, 5)[0]
    restyle(site, tmp_path / "out", [random])
    record = json.loads((tmp_path / "out" / random.name / ORIGIN).read_text())
    assert record["hospital"] == random.model_dump(mode="json")


def test_hospitals_are_found_by_name_or_drawn():
    assert [hospital.name for hospital in find_or_draw(None, 0, 1.0, 0)] == list(HOSPITALS)
    named_and_drawn = find_or_draw(["pale"], 2, 1.0, 0)
    assert named_and_drawn[0] == PALE
    assert named_and_drawn[1:] == find_or_draw(None, 2, 1.0, 0) != find_or_draw(None, 2, 1.0, 1)
    with pytest.raises(InputError, match="expected different hospitals"):
        find_or_draw(["atlantis"], 0, 1.0, 0)


@pytest.mark.parametrize("hospitals", [[], [PALE, PALE]])
def test_hospitals_must_differ(site, tmp_path, hospitals):
    with pytest.raises(InputError, match="expected hospitals with different names"):
        restyle(site, tmp_path / "out", hospitals)
    assert not (tmp_path / "out").exists()


def test_a_synthetic_cell_stays_one(site, tmp_path):
    origin = SyntheticOrigin("a1" * 32, "b2" * 32, "x")
    write_synthetic(site.parent / NAMES[1], read_image(site.parent / NAMES[1]), origin)
    done = restyle(site, tmp_path / "out", [PALE])
    assert [read_origin(path) for path in read_manifest(done.manifests["pale"]).paths()] == [None, origin, None]
