"""`hemabridge export`: writes a bundle if its results are those of the models from which it is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hemabridge.data.simulate import CLASSES, HOSPITALS, simulate_cells
from hemabridge.deployment.bundle import (
    ADAPTED,
    BILL_OF_MATERIALS,
    CARD,
    EXPECTED,
    LONGEST_NAME,
    Bundle,
    Manifest,
    is_name,
    listed,
)
from hemabridge.deployment.signing import signed
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.models.bundle_check import check_test_cells, test_entries
from hemabridge.models.bundled import BundleModel, open_bundle
from hemabridge.models.file import ModelFile
from hemabridge.progress import Progress, silent
from hemabridge.storage.files import write_new
from hemabridge.workflows.export.agreement import Agreement, compare, read_images
from hemabridge.workflows.export.card import Facts, bill_of_materials, model_card
from hemabridge.workflows.export.exported_models import (
    Models,
    classifier_entries,
    default_images,
    models_of,
    restainer_entries,
)

SUFFIX: Final = ".hemabridge"
"""Suffix that is added to a bundle's name if it has none."""
TEST_HOSPITAL: Final = "yellow-field"
TEST_SEED: Final = 20
SMALLEST_PX, LARGEST_PX = 64, 512
"""Limits of the side of a simulated test cell."""


@dataclass(frozen=True)
class Exported:
    """A written bundle.

    Attributes:
        path: the file.
        size: in bytes.
        sha256: of the file.
        manifest: its manifest.
        agreement: with the models that it was made from.
        is_signed: whether it has a signature.
    """

    path: Path
    size: int
    sha256: str
    manifest: Manifest
    agreement: Agreement
    is_signed: bool


def export(
    run: Path,
    out: Path,
    *,
    images: Path | None = None,
    snapshot: str | None = None,
    crop_px: int | None = None,
    name: str | None = None,
    key: Ed25519PrivateKey | None = None,
    progress: Progress = silent,
) -> Exported:
    """Write the bundle of a model.

    Args:
        run: the run folder of `hemabridge adapt`, for its classifier and its re-stainer; or any path that `open_model`
            takes.
        out: the file to write; it must not exist.
        images: a folder of real images, on which bundle and model are compared; None: those that a run of `hemabridge
            adapt` or `hemabridge label` holds.
        snapshot: the name of a snapshot of a run folder.
        crop_px: side of the square around a cell in new images, in pixels; None: the model's own.
        name: for people; None: the name of the file.
        key: signs the bundle.
        progress: told of each step.

    Raises:
        InputError: `out` exists, or there are no real images.
        ModelError: there is no model, or the bundle differs from it.
        MissingExtraError: PyTorch or onnxscript is not installed, and the model needs it.
    """
    path = out if out.suffix else out.with_name(out.name + SUFFIX)
    if path.exists():
        raise InputError(f"expected a new file for the bundle, got one that exists: {path}; choose another name")
    name = name or path.stem
    if not is_name(name):
        raise InputError(f"expected 1 to {LONGEST_NAME} printable characters in --name, got {name[:80]!r}")
    models = models_of(run, snapshot, crop_px)
    folder = images or default_images(run)
    if folder is None:
        raise InputError(
            "expected a folder of real images of single cells, on which bundle and model are compared, and this model "
            f"has none beside it; run: hemabridge export {run} {out} --images FOLDER"
        )
    real = read_images(folder)
    progress("exporting", 0, 1)
    untested = _untested(models, name)
    opened = _opened(untested, path)
    agreement = compare(models, opened, real, progress)
    cells = _simulated(models)
    compare(models, opened, cells, progress)
    bundle = _tested(models, opened, agreement, cells)
    content = bundle.to_bytes() if key is None else signed(bundle.to_bytes(), key)
    final = _opened(bundle, path)
    if not check_test_cells(final).is_same:
        raise InputError("expected a bundle with reproducible results, got one without; export it again")
    write_new(path, content)
    written = ModelFile(path, content)
    return Exported(path, len(content), written.sha256, bundle.manifest, agreement, key is not None)


def _untested(models: Models, name: str) -> Bundle:
    """Return the bundle without test cells and with an empty card."""
    restainer, own = restainer_entries(models.restainer)
    classifier, more = classifier_entries(models.classifier)
    found = {} if models.adapted is None else {ADAPTED: models.adapted.to_json().encode()}
    entries = {**own, **more, **found, CARD: b"", BILL_OF_MATERIALS: b"{}", EXPECTED: b"{}"}
    manifest = Manifest(
        name=name, restainer=restainer, classifier=classifier, is_adapted=bool(found), entries=listed(entries)
    )
    return Bundle(manifest, entries)


def _tested(models: Models, opened: BundleModel, agreement: Agreement, cells: Sequence[UInt8Image]) -> Bundle:
    """Return the bundle with test cells, card and bill of materials."""
    facts = Facts.of(models, opened.bundle.manifest, agreement)
    entries = {
        **opened.bundle.entries,
        **test_entries(opened, cells),
        CARD: model_card(facts).encode(),
        BILL_OF_MATERIALS: bill_of_materials(facts).encode(),
    }
    update = {"test_cells": len(cells), "entries": listed(entries)}
    return Bundle(Manifest.model_validate({**opened.bundle.manifest.model_dump(), **update}), entries)


def _opened(bundle: Bundle, path: Path) -> BundleModel:
    """Open a bundle from its bytes, as a user does."""
    return open_bundle(ModelFile(path, bundle.to_bytes()))


def _simulated(models: Models) -> list[UInt8Image]:
    """Return simulated cells that fill the square around a cell of the models."""
    crops = [crop.crop_px for model in models.all if (crop := model.crop()) is not None]
    sides = [side for side in crops if isinstance(side, int)]
    side = min(LARGEST_PX, max([SMALLEST_PX, *sides]))
    images, _ = simulate_cells(CLASSES, 1, HOSPITALS[TEST_HOSPITAL], TEST_SEED, side)
    return list(images)
