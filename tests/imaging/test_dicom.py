"""DICOM files as images of cells: read with their color profile, and written as derived files without identity."""

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom import imread
from highdicom._standard_utils import check_required_attributes, get_iod_module_map, is_attribute_in_iod
from PIL import Image, ImageCms
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset

from hemabridge.errors import ImageError
from hemabridge.imaging.derived_dicom import IDENTITY, SECONDARY_CAPTURE, Derivation, derived_dicom
from hemabridge.imaging.dicom import srgb_profile
from hemabridge.imaging.files import read_decoded, read_image
from hemabridge.imaging.provenance import SyntheticOrigin, mark_in, read_origin, write_synthetic
from hemabridge.imaging.reader import SentImages

PYDICOM = Path(pydicom.__file__).parent / "data" / "test_files"
HOW = Derivation("a" * 64, "Colors changed by a model.")
KEPT = Derivation("a" * 64, "Colors changed by a model.", keep_identity=True)
WriteDicom = Callable[..., Path]

SECRET = {
    "AE": "SECRETAE", "AS": "047Y", "CS": "SECRET_CS", "DA": "19470813", "DT": "19470813101112", "LO": "secret words",
    "LT": "secret words", "PN": "Secret^Person", "SH": "secret words", "ST": "secret words", "TM": "101112",
    "UC": "secret words", "UI": "1.2.999.47", "UR": "http://secret.example", "UT": "secret words",
}  # fmt: skip
"""A value of each kind of text that may name somebody or a day."""

SEEN = re.compile(rb"(?i)secret|19470813|101112|047Y|1\.2\.999\.47")


@pytest.fixture
def rgb() -> np.ndarray:
    """A smooth picture in which every corner differs, uint8[25, 41, 3]: an odd number of bytes."""
    rows, columns = np.mgrid[0:25, 0:41]
    return np.stack([rows * 10, columns * 6, 255 - rows * 5 - columns], axis=-1).astype(np.uint8)


def parsed(content: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(content))


def all_texts() -> dict[str, str]:
    """Return every attribute of the dictionary of pydicom that is a text, with a value that must not come through."""
    needed = {"SOPClassUID", "SOPInstanceUID", "PhotometricInterpretation", "SpecificCharacterSet", "TransferSyntaxUID"}
    return {
        entry[4]: SECRET[entry[0]]
        for tag, entry in DicomDictionary.items()
        if entry[0] in SECRET and entry[4] and 0x0008 <= tag >> 16 < 0x7FE0 and entry[4] not in needed
    }


def icc_of(primaries: tuple[float, ...]) -> bytes:
    """Return the ICC profile of a camera: sRGB with other primaries, in XYZ of D50 (tags rXYZ, gXYZ, bXYZ)."""
    profile = bytearray(srgb_profile())
    for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), np.reshape(primaries, (3, 3)), strict=True):
        place = int.from_bytes(profile[profile.index(name) + 4 : profile.index(name) + 8], "big") + 8
        profile[place : place + 12] = b"".join(int(value * 65536).to_bytes(4, "big", signed=True) for value in xyz)
    return bytes(profile)


SWAPPED = (0.3851, 0.7169, 0.0971, 0.4361, 0.2225, 0.0139, 0.1431, 0.0606, 0.7139)
"""Green where sRGB has red, and red where it has green."""


def test_a_dicom_file_is_read_as_an_image(tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom) -> None:
    path = write_dicom(tmp_path / "cell.dcm", rgb)
    np.testing.assert_array_equal(read_image(path), rgb)
    np.testing.assert_array_equal(SentImages({path: path.read_bytes()}).read(path), rgb)
    found = read_decoded(path)
    assert (found.bits, found.stated, found.gray, found.lost_profile, found.remarks()) == (8, True, False, False, ())


@pytest.mark.parametrize("where", ["the image", "the light path"])
def test_the_color_profile_is_applied(tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom, where: str) -> None:
    light = Dataset()
    light.ICCProfile = icc_of(SWAPPED)
    own = {"ICCProfile": icc_of(SWAPPED)} if where == "the image" else {"OpticalPathSequence": [light]}
    path = write_dicom(tmp_path / "cell.dcm", rgb, **own)
    # The same samples with the same profile in a PNG file, which Pillow and lcms read.
    Image.fromarray(rgb).save(tmp_path / "cell.png", icc_profile=icc_of(SWAPPED))
    np.testing.assert_array_equal(read_image(path), read_image(tmp_path / "cell.png"))
    red, swapped = rgb[..., 0].astype(int), read_image(path)[..., 1].astype(int)
    assert np.abs(red - swapped).mean() < 3  # red of the file is green in truth


def test_a_profile_that_cannot_be_read_and_burned_in_text_are_remarked(
    tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom
) -> None:
    path = write_dicom(tmp_path / "cell.dcm", rgb, ICCProfile=b"no profile", BurnedInAnnotation="YES")
    profile, burned = read_decoded(path).remarks()
    assert "color profile" in profile
    assert "burned into its pixels" in burned


@pytest.mark.parametrize(
    ("name", "message"),
    [("SC_rgb_rle_2frame.dcm", "found 2 frames; save them one by one"), ("SC_rgb_jpeg_gdcm.dcm", "JPEG Lossless")],
)
def test_what_is_not_one_picture_is_refused_in_words(name: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(PYDICOM / name)


def test_a_file_without_pixels_and_a_torn_one_are_refused(
    tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom
) -> None:
    content = write_dicom(tmp_path / "cell.dcm", rgb).read_bytes()
    for name, part in (("torn.dcm", content[:-500]), ("head.dcm", content[:200]), ("mark.dcm", content[:132])):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(ImageError, match=name.replace(".", r"\.")):
            read_image(tmp_path / name)


def test_the_tiles_of_a_small_slide_are_one_picture(tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom) -> None:
    padded = np.pad(rgb, ((0, 7), (0, 7), (0, 0)))  # 32 x 48 pixels: 2 x 3 tiles
    tiles = [padded[top : top + 16, left : left + 16] for top in (0, 16) for left in (0, 16, 32)]
    path = write_dicom(
        tmp_path / "slide.dcm",
        tiles[0],
        TotalPixelMatrixRows=25,
        TotalPixelMatrixColumns=41,
        NumberOfFrames=6,
        DimensionOrganizationType="TILED_FULL",
        ImagedVolumeWidth=0.0041,
        ImagedVolumeHeight=0.0025,
        PixelData=b"".join(tile.tobytes() for tile in tiles),
    )
    np.testing.assert_array_equal(read_image(path), rgb)
    made = parsed(derived_dicom(path.read_bytes(), rgb, HOW, "slide.dcm"))
    assert [float(distance) for distance in made.PixelSpacing] == pytest.approx([1e-4, 1e-4])
    assert made.ImagedVolumeWidth == pytest.approx(0.0041)
    assert (made.Rows, made.Columns, "NumberOfFrames" in made) == (25, 41, False)


def test_no_text_of_the_source_comes_through(tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom) -> None:
    texts = all_texts()
    assert {"PatientName", "PatientID", "AccessionNumber", "InstitutionName", "OperatorsName", "BarcodeValue"} <= set(
        texts
    )
    assert len(texts) > 1000
    person = Dataset()
    person.PatientID, person.PatientName = "secret words", "Secret^Person"
    path = write_dicom(tmp_path / "cell.dcm", rgb, **texts, OtherPatientIDsSequence=[person])
    source = pydicom.dcmread(path)
    source.private_block(0x0009, "Secret creator", create=True).add_new(1, "LO", "secret words")
    source.save_as(path)
    assert len(SEEN.findall(path.read_bytes())) > len(texts)
    made = derived_dicom(path.read_bytes(), rgb, HOW, "cell.dcm")
    assert SEEN.findall(made) == []
    assert SEEN.findall(made.replace(b"\0", b"")) == []  # nor in UTF-16


def test_with_identity_patient_and_study_are_those_of_the_source(
    tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom
) -> None:
    known = {name: value for name, value in all_texts().items() if name in IDENTITY}
    path = write_dicom(tmp_path / "cell.dcm", rgb, **known, InstitutionName="secret words", OperatorsName="Secret^Me")
    source, made = pydicom.dcmread(path), parsed(derived_dicom(path.read_bytes(), rgb, KEPT, "cell.dcm"))
    assert len(known) > 10
    assert {name: made[name].value for name in known} == {name: source[name].value for name in known}
    assert "InstitutionName" not in made
    assert "OperatorsName" not in made
    without = parsed(derived_dicom(path.read_bytes(), rgb, HOW, "cell.dcm"))
    for name in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert len({source[name].value, made[name].value, without[name].value}) == 3
    assert without.StudyInstanceUID != source.StudyInstanceUID


def test_names_keep_their_characters(tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom) -> None:
    path = write_dicom(tmp_path / "cell.dcm", rgb, SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Žofia")
    assert str(parsed(derived_dicom(path.read_bytes(), rgb, KEPT, "cell.dcm")).PatientName) == "Müller^Žofia"


@pytest.mark.parametrize("how", [HOW, KEPT])
def test_the_standard_as_highdicom_holds_it_is_kept(
    tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom, how: Derivation
) -> None:
    """The required attributes of each module, no foreign attribute, and valid values (strict mode of pydicom)."""
    content = derived_dicom(
        write_dicom(tmp_path / "cell.dcm", rgb, PixelSpacing=[1e-4, 1e-4], BurnedInAnnotation="NO").read_bytes(),
        rgb, how, "cell.dcm",
    )  # fmt: skip
    before = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
    try:
        made = parsed(content)
        values = [element.value for element in made.iterall()]
    finally:
        pydicom.config.settings.reading_validation_mode = before
    assert len(values) > 50
    modules = get_iod_module_map()["secondary-capture-image"]
    wanted = [module["key"] for module in modules if module["usage"] == "M"] + ["icc-profile", "general-equipment"]
    assert len(wanted) > 8
    for module in wanted:
        check_required_attributes(made, module)
    assert [name for name in made.dir() if not is_attribute_in_iod(name, SECONDARY_CAPTURE)] == []
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
    assert made.SOPInstanceUID.is_valid


def test_another_reader_shows_the_same_pixels(tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom) -> None:
    path = write_dicom(tmp_path / "cell.dcm", rgb, PixelSpacing=[1e-4, 2e-4])
    (tmp_path / "made.dcm").write_bytes(derived_dicom(path.read_bytes(), 255 - rgb, HOW, "cell.dcm"))
    found = imread(tmp_path / "made.dcm")
    np.testing.assert_array_equal(found.get_frame(1, apply_icc_profile=False), 255 - rgb)
    in_color = found.get_frame(1, apply_icc_profile=True).astype(int)
    assert np.abs(in_color - (255 - rgb)).max() <= 1  # the profile says sRGB
    np.testing.assert_array_equal(read_image(tmp_path / "made.dcm"), 255 - rgb)
    assert [float(distance) for distance in found.PixelSpacing] == [1e-4, 2e-4]


def test_the_file_says_what_it_is_and_from_what_it_was_made(
    tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom
) -> None:
    path = write_dicom(tmp_path / "cell.dcm", rgb, BurnedInAnnotation="NO", RecognizableVisualFeatures="NO")
    source, made = pydicom.dcmread(path), parsed(derived_dicom(path.read_bytes(), rgb, HOW, "cell.dcm"))
    assert (made.SOPClassUID, list(made.ImageType), made.Modality) == (
        SECONDARY_CAPTURE,
        ["DERIVED", "SECONDARY"],
        "GM",
    )
    assert (made.SyntheticData, made.BurnedInAnnotation, made.RecognizableVisualFeatures) == ("YES", "NO", "NO")
    (origin,) = made.SourceImageSequence
    assert origin.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert origin.ReferencedSOPClassUID == source.SOPClassUID
    (maker,) = made.ContributingEquipmentSequence
    assert maker.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Processing Equipment"
    assert HOW.what in made.DerivationDescription
    assert HOW.made_by in made.DerivationDescription
    assert made.PatientIdentityRemoved == "YES"
    profile = ImageCms.ImageCmsProfile(BytesIO(made.ICCProfile)).profile
    assert (profile.device_class.strip(), profile.xcolor_space.strip()) == ("scnr", "RGB")


def test_pixels_with_burned_in_text_are_not_called_free_of_identity(
    tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom
) -> None:
    for number, burned in enumerate(({}, {"BurnedInAnnotation": "YES"})):
        path = write_dicom(tmp_path / f"{number}.dcm", rgb, **burned)
        made = parsed(derived_dicom(path.read_bytes(), rgb, HOW, "cell.dcm"))
        assert "PatientIdentityRemoved" not in made


def test_equal_inputs_give_equal_bytes_and_others_another_identity(
    tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom
) -> None:
    one, two = (write_dicom(tmp_path / name, rgb).read_bytes() for name in ("a.dcm", "b.dcm"))
    first = derived_dicom(one, rgb, HOW, "a.dcm")
    assert derived_dicom(one, rgb, HOW, "elsewhere.dcm") == first
    others = [
        derived_dicom(two, rgb, HOW, "b.dcm"),
        derived_dicom(one, rgb, Derivation("b" * 64, HOW.what), "a.dcm"),
        derived_dicom(one, 255 - rgb, HOW, "a.dcm"),
    ]
    made = [parsed(content) for content in (first, *others)]
    assert len({data.SOPInstanceUID for data in made}) == 4
    assert [data.SeriesInstanceUID == made[0].SeriesInstanceUID for data in made] == [True, True, False, True]


@pytest.mark.parametrize(("name", "method"), [("SC_rgb_jpeg_dcmtk.dcm", "ISO_10918_1"), ("SC_rgb_rle.dcm", None)])
def test_lossy_compression_of_the_source_is_told(name: str, method: str | None) -> None:
    pixels = read_image(PYDICOM / name)
    made = parsed(derived_dicom((PYDICOM / name).read_bytes(), pixels, HOW, name))
    assert made.get("LossyImageCompressionMethod") == method
    assert made.get("LossyImageCompression") == (None if method is None else "01")
    if method is not None:
        assert float(made.LossyImageCompressionRatio) > 1


def test_the_mark_of_a_synthetic_image_stays(tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom) -> None:
    origin = SyntheticOrigin("b" * 64, "c" * 64, "a recipe")
    write_synthetic(tmp_path / "made.png", rgb, origin)
    how = Derivation("a" * 64 + " at 96 px", HOW.what * 30, mark_in((tmp_path / "made.png").read_bytes()))
    content = derived_dicom(write_dicom(tmp_path / "cell.dcm", rgb).read_bytes(), rgb, how, "cell.dcm")
    (tmp_path / "derived.dcm").write_bytes(content)
    assert read_origin(tmp_path / "derived.dcm") == origin
    assert len(parsed(content).DerivationDescription) <= 1024


def test_only_a_dicom_file_gives_a_derived_one(tmp_path: Path, rgb: np.ndarray, write_dicom: WriteDicom) -> None:
    Image.fromarray(rgb).save(tmp_path / "cell.png")
    with pytest.raises(ImageError, match=r"cell\.dcm: expected a DICOM file, as its suffix says"):
        derived_dicom((tmp_path / "cell.png").read_bytes(), rgb, HOW, "cell.dcm")
    path = write_dicom(tmp_path / "bare.dcm", rgb)
    bare = pydicom.dcmread(path)
    del bare.SOPInstanceUID
    bare.save_as(path)
    with pytest.raises(ImageError, match=r"bare\.dcm: expected a whole DICOM image"):
        derived_dicom(path.read_bytes(), rgb, HOW, "bare.dcm")


def test_only_known_keywords_are_copied() -> None:
    assert [name for name in IDENTITY if keyword_for_tag(pydicom.datadict.tag_for_keyword(name) or 0) != name] == []
