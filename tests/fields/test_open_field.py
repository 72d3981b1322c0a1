"""Fields of every format, written by other programs, are read right: whole or tile by tile."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from hemabridge.errors import ImageError
from hemabridge.fields import tiff_image
from hemabridge.fields.detect import find_leukocytes
from hemabridge.fields.field_image import level_for
from hemabridge.fields.field_scale import estimate_scale, stated_scale
from hemabridge.fields.open_field import open_field
from hemabridge.imaging.files import read_image

PYDICOM = Path(pydicom.__file__).parent / "data" / "test_files"
FORMATS = Path(__file__).parent / "formats"
"""Files by other programs; `formats/make.py` says by which."""
GLASS, RED, NUCLEUS = (230, 225, 220), (190, 140, 140), (90, 40, 130)


@pytest.fixture
def picture(drawn_field):
    """A field of 480 x 640 pixels with a leukocyte, with noise, so that no two tiles are alike."""
    noise = np.random.default_rng(0).normal(0, 3, (480, 640, 3))
    return np.clip(read_image(drawn_field) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def part_by_part(monkeypatch):
    """Small TIFF files are read as large ones are."""
    monkeypatch.setattr(tiff_image, "LARGE_PIXELS", 0)


def whole(pixels):
    height, width = pixels.shape[:2]
    return pixels[0:height, 0:width]


@pytest.mark.usefixtures("part_by_part")
@pytest.mark.parametrize(
    "options",
    [
        {"tile": (64, 64)},
        {"tile": (128, 96), "bigtiff": True, "compression": "zlib", "predictor": True},
        {"rowsperstrip": 50, "compression": "lzw"},
        {"planarconfig": "separate", "tile": (64, 64)},
    ],
)
def test_parts_of_a_tiff_file_are_those_of_the_whole(picture, tmp_path, options):
    options = dict(options)
    path, big, planar = tmp_path / "a.tif", options.pop("bigtiff", False), "planarconfig" in options
    samples = np.moveaxis(picture, -1, 0) if planar else picture
    with tifffile.TiffWriter(path, bigtiff=big) as file:
        file.write(samples, photometric="rgb", **options)
    with open_field(path) as field:
        assert isinstance(field.pixels, tiff_image.TiffPixels)
        assert field.pixels.shape == (480, 640, 3)
        np.testing.assert_array_equal(whole(field.pixels), picture)
        np.testing.assert_array_equal(field.pixels[33:201, 90:500], picture[33:201, 90:500])


@pytest.mark.usefixtures("part_by_part")
def test_samples_of_16_bits_are_scaled_by_the_depth_of_the_camera(picture, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture.astype(np.uint16) * 16, tile=(64, 64), photometric="rgb")  # 12 bits
    with open_field(tmp_path / "a.tif") as field:
        assert np.abs(whole(field.pixels).astype(int) - picture).max() <= 1
    tifffile.imwrite(tmp_path / "b.tif", picture[..., 0].astype(np.uint16) * 257, tile=(64, 64))
    with open_field(tmp_path / "b.tif") as field:
        np.testing.assert_array_equal(whole(field.pixels)[..., 2], picture[..., 0])


@pytest.mark.usefixtures("part_by_part")
@pytest.mark.parametrize("name", ["tiled-bigtiff.tif", "16-bit.tif", "named.ome.tif", "pyramid.tif", "slide.dcm"])
def test_files_of_other_programs_are_read_with_their_scale(name):
    step = 4 if name == "pyramid.tif" else 1  # its finest pixels have 0.025 um
    with open_field(FORMATS / name) as field:
        assert field.um_per_px == pytest.approx(0.1, rel=0.01)
        assert not isinstance(field.pixels, np.ndarray)
        assert field.pixels.shape == (300 // step, 400 // step, 3)
        image = whole(field.pixels).astype(int)
        if step == 1:
            (cell,) = find_leukocytes(field.pixels, stated_scale(field.um_per_px)).leukocytes
            assert (cell.x, cell.y, cell.diameter_um) == pytest.approx((200, 180, 8), abs=1.5)
    places = {(5, 5): GLASS, (60, 200): RED, (240, 330): RED, (180, 200): NUCLEUS, (296, 396): GLASS}
    for (row, column), color in places.items():
        assert np.abs(image[row // step, column // step] - color).max() <= 2  # JPEG in the slide


def pyramid(path, picture, um_per_px, **options):
    per_cm = 10_000 / um_per_px
    with tifffile.TiffWriter(path) as file:
        own = {"photometric": "rgb", "tile": (64, 64)} | options
        file.write(picture, subifds=2, resolution=(per_cm, per_cm), resolutionunit="CENTIMETER", **own)
        for step in (2, 4):
            file.write(picture[::step, ::step], subfiletype=1, **own)


@pytest.mark.parametrize(("um_per_px", "step"), [(0.03, 4), (0.05, 2), (0.1, 1), (0.5, 1)])
def test_of_a_pyramid_the_level_is_read_that_shows_cells_well_enough(picture, tmp_path, um_per_px, step):
    pyramid(tmp_path / "a.tif", picture, um_per_px)
    with open_field(tmp_path / "a.tif") as field:
        assert field.um_per_px == pytest.approx(um_per_px * step, rel=0.01)
        np.testing.assert_array_equal(whole(field.pixels), picture[::step, ::step])


def test_the_level_of_an_unknown_scale_is_the_finest():
    assert level_for(None, [1.0, 4.0]) == 0
    assert level_for(0.03, [1.0, 4.0, 16.0]) == 1


def test_the_pixel_size_of_an_ome_tiff_is_read(picture, tmp_path):
    for name, size, unit in [("a.ome.tif", 0.1, "µm"), ("b.ome.tif", 100.0, "nm")]:
        metadata = {"axes": "YXS", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
        tifffile.imwrite(tmp_path / name, picture, photometric="rgb", metadata=metadata)
        with open_field(tmp_path / name) as field:
            assert field.um_per_px == pytest.approx(0.1)
            np.testing.assert_array_equal(whole(field.pixels), picture)


def test_a_small_tiff_file_of_pillow_is_read_whole_and_72_dpi_are_no_scale(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.tif", dpi=(72, 72))
    with open_field(tmp_path / "a.tif") as field:
        assert field.um_per_px is None
        np.testing.assert_array_equal(field.pixels, picture)


@pytest.mark.parametrize(
    "name", ["SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_rle.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_jpeg_dcmtk.dcm"]
)
def test_dicom_files_of_dcmtk_and_gdcm_show_the_same_bars(name):
    with open_field(PYDICOM / name) as field:
        bars = [field.pixels[row, 50].tolist() for row in (5, 15, 25)]
    expected = [[255, 0, 0], [255, 128, 128], [0, 255, 0]]  # as the names of the file's bars in pydicom say
    assert np.abs(np.array(bars) - expected).max() <= 6


def slide_of(picture, path, *, sparse=False, spacing_mm=0.0001):
    """Write a DICOM whole-slide image with frames of 160 x 128 pixels."""
    data = Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Rows, data.Columns, data.SamplesPerPixel, data.PlanarConfiguration = 128, 160, 3, 0
    data.PhotometricInterpretation, data.BitsAllocated, data.BitsStored, data.HighBit = "RGB", 8, 8, 7
    data.PixelRepresentation = 0
    data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = picture.shape[:2]
    places = [(top, left) for top in range(0, 480, 128) for left in range(0, 640, 160)]
    padded = np.pad(picture, ((0, 32), (0, 0), (0, 0)))
    if sparse:
        places = places[::-1]
        groups = []
        for top, left in places:
            place, group = Dataset(), Dataset()
            place.RowPositionInTotalImagePixelMatrix, place.ColumnPositionInTotalImagePixelMatrix = top + 1, left + 1
            group.PlanePositionSlideSequence = Sequence([place])
            groups.append(group)
        data.PerFrameFunctionalGroupsSequence = Sequence(groups)
    data.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [spacing_mm, spacing_mm]
    shared.PixelMeasuresSequence = Sequence([measures])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.NumberOfFrames = len(places)
    data.PixelData = b"".join(padded[top : top + 128, left : left + 160].tobytes() for top, left in places)
    data.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("sparse", [False, True])
def test_the_frames_of_a_dicom_slide_are_put_together(picture, tmp_path, sparse):
    slide_of(picture, tmp_path / "a.dcm", sparse=sparse)
    with open_field(tmp_path / "a.dcm") as field:
        assert field.um_per_px == pytest.approx(0.1)
        np.testing.assert_array_equal(whole(field.pixels), picture)
        np.testing.assert_array_equal(field.pixels[100:140, 150:330], picture[100:140, 150:330])


def test_several_frames_that_are_no_slide_are_refused():
    with pytest.raises(ImageError, match="found 2 frames"), open_field(PYDICOM / "SC_rgb_rle_2frame.dcm"):
        pass


def test_a_compression_that_is_not_read_is_named():
    with pytest.raises(ImageError, match="JPEG Lossless"), open_field(PYDICOM / "SC_rgb_jpeg_gdcm.dcm"):
        pass


def test_a_slide_is_read_by_openslide_at_the_level_that_shows_cells(picture, tmp_path):
    pytest.importorskip("openslide")
    about = "Aperio Image Library v11\r\n640x480 [0,0 640x480] (64x64) JPEG/RGB Q=100|AppMag = 60|MPP = 0.05"
    with tifffile.TiffWriter(tmp_path / "a.svs") as file:
        own = {"photometric": "rgb", "tile": (64, 64), "compression": "jpeg", "compressionargs": {"level": 100}}
        file.write(picture, description=about, metadata=None, **own)
        file.write(picture[::2, ::2], description=about, metadata=None, **own)
    with open_field(tmp_path / "a.svs") as field:
        assert field.um_per_px == pytest.approx(0.1)
        assert field.pixels.shape == (240, 320, 3)
        assert np.abs(whole(field.pixels).astype(int) - picture[::2, ::2]).mean() < 4
        assert field.pixels[10:50, 20:90].shape == (40, 70, 3)


def test_damaged_files_are_refused_with_their_path(picture, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture, tile=(64, 64), photometric="rgb", compression="zlib")
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(content[: len(content) // 4])
    shutil.copyfile(PYDICOM / "SC_rgb_rle.dcm", tmp_path / "cut.dcm")
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "cut.dcm").read_bytes()[:900])
    (tmp_path / "empty.svs").write_bytes(b"")
    for name in ("cut.tif", "cut.dcm", "empty.svs", "gone.tif"):
        with pytest.raises(ImageError, match=name.replace(".", r"\.")), open_field(tmp_path / name) as field:
            whole(field.pixels)


@pytest.mark.usefixtures("part_by_part")
def test_a_damaged_tile_of_a_large_file_is_refused_with_its_path(picture, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture, tile=(64, 64), photometric="rgb", compression="zlib")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)  # the directory is at the beginning
    (tmp_path / "a.tif").write_bytes(content)
    with open_field(tmp_path / "a.tif") as field:
        assert field.pixels[0:64, 0:64].shape == (64, 64, 3)
        with pytest.raises(ImageError, match=r"a\.tif: expected a whole TIFF file"):
            whole(field.pixels)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".dcm"])
@pytest.mark.parametrize("error", [IndexError, KeyError, ValueError, TypeError, RuntimeError])
def test_an_error_of_the_caller_is_not_one_of_the_file(picture, tmp_path, suffix, error):
    path = tmp_path / f"a{suffix}"
    slide_of(picture, path) if suffix == ".dcm" else Image.fromarray(picture).save(path)
    with pytest.raises(error, match="of the caller"), open_field(path):
        raise error("of the caller")


@pytest.mark.usefixtures("part_by_part")
def test_in_a_file_that_is_read_part_by_part_the_same_cells_are_found(picture, tmp_path):
    large = np.tile(picture, (3, 3, 1))
    tifffile.imwrite(tmp_path / "a.tif", large, tile=(256, 256), photometric="rgb", compression="zlib")
    scale = stated_scale(0.1)
    with open_field(tmp_path / "a.tif") as field:
        found = find_leukocytes(field.pixels, scale, tile_px=256)
        assert estimate_scale(field.pixels) == estimate_scale(large)
    assert found == find_leukocytes(large, scale)
    assert len(found.leukocytes) == 9


def test_the_scale_of_an_image_far_wider_than_a_field_comes_from_windows_of_it(picture):
    wide = np.tile(picture, (2, 8, 1))  # 960 x 5120 pixels
    scale = estimate_scale(wide)
    assert scale is not None
    assert scale.source == "red cells"
    assert scale.um_per_px == pytest.approx(0.1, rel=0.04)
