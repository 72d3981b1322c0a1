"""`hemabridge verify`: checks a bundle on arrival: signature, entries, and the outputs for its test cells."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hemabridge.deployment.archive import is_signed
from hemabridge.deployment.bundle import Manifest
from hemabridge.deployment.signing import check_signature
from hemabridge.errors import ModelError
from hemabridge.models.bundle_check import Checked, check_test_cells
from hemabridge.models.bundled import BundleModel, open_bundle
from hemabridge.models.file import ModelFile


@dataclass(frozen=True)
class Verified:
    """A bundle whose entries are those of its manifest.

    Attributes:
        manifest: its manifest.
        sha256: of the file.
        is_signed: whether it has a signature.
        is_checked: whether the signature was checked, and is right.
        test_cells: outputs for the test cells.
    """

    manifest: Manifest
    sha256: str
    is_signed: bool
    is_checked: bool
    test_cells: Checked


def verify(path: Path, key: Ed25519PublicKey | None = None) -> Verified:
    """Check a bundle; with a key its signature first, before anything in the file is parsed.

    Raises:
        ModelError: it is not a bundle, it was damaged or changed, or it is not signed by the key.
    """
    model = open_verified(path, key)
    file = model.file
    return Verified(model.header, file.sha256, is_signed(file.content), key is not None, check_test_cells(model))


def open_verified(path: Path, key: Ed25519PublicKey | None = None) -> BundleModel:
    """Open a bundle; with a key after its signature was checked.

    Raises:
        ModelError: as for `verify`.
    """
    if path.is_dir():
        raise ModelError(f"expected a bundle, got a folder: {path}; make one: `hemabridge export {path} BUNDLE`")
    file = ModelFile.read(path)
    if key is not None:
        check_signature(file.content, key, path)
    if file.format != "bundle":
        raise ModelError(f"expected a bundle of `hemabridge export`, got another file: {path}")
    return open_bundle(file)
