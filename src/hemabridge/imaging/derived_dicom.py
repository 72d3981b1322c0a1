"""A DICOM file derived from another one: a Secondary Capture image with new pixels, which refers to its source.

Only what is listed here is copied from the source. All else stays behind, with all private attributes. The same
source, pixels and maker give the same bytes: there are no times, and unique identifiers are computed from hashes.
"""

import hashlib
import uuid
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from hemabridge._version import __version__
from hemabridge.errors import ImageError
from hemabridge.imaging.dicom import HEAD_BYTES, damaged, is_dicom, read_attributes, srgb_profile, stated_spacing_mm
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.imaging.threads import NO_WARNINGS

SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
"""SOP Class UID of Secondary Capture Image Storage (PS3.4 B.5)."""

IDENTITY: Final = (
    *("AccessionNumber", "ContainerIdentifier", "ContainerTypeCodeSequence", "IssuerOfAccessionNumberSequence"),
    *("IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "IssuerOfTheContainerIdentifierSequence"),
    *("OtherPatientIDsSequence", "PatientAge", "PatientBirthDate", "PatientID", "PatientName", "PatientSex"),
    *("ReferringPhysicianName", "SpecificCharacterSet", "SpecimenDescriptionSequence", "StudyDate", "StudyDescription"),
    *("StudyID", "StudyInstanceUID", "StudyTime", "TypeOfPatientID", "DeidentificationMethod"),
    *("DeidentificationMethodCodeSequence", "PatientIdentityRemoved"),
)
"""Keywords of what is copied only if the identity is kept: patient, study and specimen."""

_EMPTY: Final = (
    *("AccessionNumber", "InstanceNumber", "Manufacturer", "PatientBirthDate", "PatientID", "PatientName"),
    *(
        "PatientOrientation",
        "PatientSex",
        "ReferringPhysicianName",
        "SeriesNumber",
        "StudyDate",
        "StudyID",
        "StudyTime",
    ),
)
"""Keywords that must be there even without a value (type 2)."""

_ANSWERS: Final = ("BurnedInAnnotation", "RecognizableVisualFeatures")
_VOLUME: Final = ("ImagedVolumeWidth", "ImagedVolumeHeight", "ImagedVolumeDepth")
_MODALITIES: Final = ("GM", "SM", "XC")
_LOSSY: Final = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}
_LONGEST_TEXT: Final = 1024  # of the value representation ST
_NAMESPACE: Final = uuid.UUID("9b0c6a5e-3f0d-5c0e-8a52-6d1f2f7b8c41")


@dataclass(frozen=True)
class Derivation:
    """What made the new pixels.

    Attributes:
        made_by: identity of the model, with the hash of its file.
        what: one sentence for people.
        mark: the mark of a synthetic image (`hemabridge.imaging.provenance`), if the source has one.
        keep_identity: whether patient, study and specimen of the source are copied (`IDENTITY`).
    """

    made_by: str
    what: str
    mark: str = ""
    keep_identity: bool = False


def derived_dicom(content: bytes, image: UInt8Image, how: Derivation, where: str) -> bytes:
    """Return a DICOM file with new pixels that refers to the one from which they were made.

    Args:
        content: the bytes of the source, a DICOM file.
        image: RGB uint8[H, W, 3] in sRGB.
        how: what made the pixels.
        where: path of the source, for messages.

    Raises:
        ImageError: the source is no DICOM file, or it is damaged.
        MissingExtraError: pydicom is not installed.
    """
    if not is_dicom(content[:HEAD_BYTES]):
        raise ImageError(
            f"{where}: expected a DICOM file, as its suffix says, from which the output can be derived, got another "
            "format; rename the file"
        )
    with NO_WARNINGS:
        source = read_attributes(BytesIO(content), where)
        try:
            return _encoded(_derived(source, content, image, how))
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise damaged(where, error) from error


def uid_of(*parts: str) -> str:
    """Return the unique identifier of some texts: always the same one for the same texts (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join(parts)).int}"


def _derived(source: Any, content: bytes, image: UInt8Image, how: Derivation) -> Any:
    from pydicom.dataset import Dataset

    sha256 = hashlib.sha256(content).hexdigest()
    maker = how.made_by + (" with identity" if how.keep_identity else "")
    made = Dataset()
    for keyword in _EMPTY:
        setattr(made, keyword, None)
    made.SOPClassUID = SECONDARY_CAPTURE
    made.SOPInstanceUID = uid_of("instance", sha256, maker, __version__, hashlib.sha256(image.tobytes()).hexdigest())
    made.SeriesInstanceUID = uid_of("series", str(source.get("SeriesInstanceUID", sha256)), maker)
    made.StudyInstanceUID = uid_of("study", str(source.get("StudyInstanceUID", sha256)))
    made.Modality = source.get("Modality") if source.get("Modality") in _MODALITIES else "OT"
    made.InstanceNumber = source.get("InstanceNumber")
    _describe(made, source, how)
    _copy_facts(made, source, content)
    if how.keep_identity:
        _copy_identity(made, source)
    elif made.get("BurnedInAnnotation") == "NO":
        made.PatientIdentityRemoved = "YES"
        made.DeidentificationMethod = "Only listed attributes copied by hemabridge"
    _set_pixels(made, image)
    return made


def _describe(made: Any, source: Any, how: Derivation) -> None:
    """State that the picture is derived and processed, from what, and by what (PS3.3 C.7.6.1, C.12.1)."""
    from pydicom.dataset import Dataset

    made.ImageType = ["DERIVED", "SECONDARY"]
    made.SyntheticData = "YES"  # colors are "made artificially rather than being a faithful representation" (C.12.1.1)
    made.SeriesDescription = "Re-stained by hemabridge"
    text = f"{how.what} hemabridge {__version__}, model {how.made_by}."
    made.DerivationDescription = " ".join(filter(None, (text[: _LONGEST_TEXT - len(how.mark) - 1], how.mark)))
    made.DerivationCodeSequence = [_code("RESTAIN", "99HEMABRIDGE", "Re-staining into the colors of another site")]
    origin = Dataset()
    origin.ReferencedSOPClassUID = source.SOPClassUID
    origin.ReferencedSOPInstanceUID = source.SOPInstanceUID
    origin.SpatialLocationsPreserved = "YES"
    origin.PurposeOfReferenceCodeSequence = [
        _code("121322", "DCM", "Source image for image processing operation")  # PS3.16 CID 7202
    ]
    made.SourceImageSequence = [origin]
    maker = Dataset()
    maker.Manufacturer = "hemabridge"
    maker.ManufacturerModelName = "hemabridge"
    maker.SoftwareVersions = __version__
    maker.ContributionDescription = how.what
    maker.PurposeOfReferenceCodeSequence = [_code("109102", "DCM", "Processing Equipment")]  # PS3.16 CID 7005
    made.ContributingEquipmentSequence = [maker]
    made.ConversionType = "WSD"
    made.SecondaryCaptureDeviceManufacturer = "hemabridge"
    made.SecondaryCaptureDeviceSoftwareVersions = __version__


def _code(value: str, scheme: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset

    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _copy_facts(made: Any, source: Any, content: bytes) -> None:
    """Copy what the picture needs: its scale, whether text is in it, whether it was compressed with loss."""
    if (spacing := stated_spacing_mm(source)) is not None:
        made.PixelSpacing = [f"{distance:.9g}" for distance in spacing]
    for keyword in _VOLUME:
        if (size := source.get(keyword)) is not None:
            setattr(made, keyword, float(size))
    for keyword in _ANSWERS:
        if source.get(keyword) in ("YES", "NO"):
            setattr(made, keyword, source.get(keyword))
    method = _LOSSY.get(str(source.file_meta.TransferSyntaxUID))
    if source.get("LossyImageCompression") == "01":
        made.LossyImageCompression = "01"
        if ratio := source.get("LossyImageCompressionRatio"):
            made.LossyImageCompressionRatio = ratio
        if stated := source.get("LossyImageCompressionMethod"):
            made.LossyImageCompressionMethod = [one for one in _listed(stated) if one in _LOSSY.values()]
    elif method is not None:
        samples = int(source.Rows) * int(source.Columns) * int(source.SamplesPerPixel)
        size = samples * int(source.get("NumberOfFrames", 1) or 1) * int(source.BitsAllocated) // 8
        made.LossyImageCompression = "01"
        made.LossyImageCompressionRatio = f"{max(1.0, size / len(content)):.4g}"
        made.LossyImageCompressionMethod = method


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _copy_identity(made: Any, source: Any) -> None:
    for keyword in IDENTITY:
        if keyword in source:
            made[keyword] = deepcopy(source[keyword])
    made.remove_private_tags()


def _set_pixels(made: Any, image: UInt8Image) -> None:
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.Rows, made.Columns = image.shape[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.ICCProfile, made.ColorSpace = srgb_profile(), "SRGB"
    pixels = image.tobytes()
    made.PixelData = pixels + bytes(len(pixels) % 2)
    made["PixelData"].VR = "OB"


def _encoded(made: Any) -> bytes:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
