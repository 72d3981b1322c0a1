"""The signature of a bundle: Ed25519 (Bernstein et al. 2012, doi:10.1007/s13389-012-0027-1; RFC 8032).

The signature covers every byte of the file before it, and is checked before anything of the file is parsed.
"""

from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from hemabridge.deployment.archive import for_signature, is_signed
from hemabridge.errors import InputError, ModelError

SIGNATURE_BYTES: Final = 64
LARGEST_KEY_BYTES: Final = 10_000
HOW_PRIVATE: Final = "openssl genpkey -algorithm ed25519 -out KEY.pem"
HOW_PUBLIC: Final = "openssl pkey -in KEY.pem -pubout -out PUB.pem"


def signed(archive: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return an archive with its signature."""
    message = for_signature(archive)
    return message + key.sign(message)


def check_signature(content: bytes, key: Ed25519PublicKey, path: Path) -> None:
    """Check the signature of a whole file; errors state `path`.

    Raises:
        ModelError: it is not signed, or not by this key, or was changed after that.
    """
    if not is_signed(content):
        raise ModelError(f"expected a bundle that is signed by the key, got one without a signature: {path}")
    try:
        key.verify(content[-SIGNATURE_BYTES:], content[:-SIGNATURE_BYTES])
    except InvalidSignature as error:
        raise ModelError(
            f"expected a bundle that is signed by the key, got one that was changed or is signed by another: {path}; "
            "do not use it, and ask the sender"
        ) from error


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 key as `HOW_PRIVATE` writes it, without a password.

    Raises:
        InputError: it is something else.
    """
    try:
        key = load_pem_private_key(_content(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"expected an Ed25519 key in PEM without a password, got {path} ({error}); {_how()}"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"expected an Ed25519 key, got a {type(key).__name__}: {path}; {_how()}")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read an Ed25519 public key as `HOW_PUBLIC` writes it.

    Raises:
        InputError: it is something else.
    """
    try:
        key = load_pem_public_key(_content(path))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"expected an Ed25519 public key in PEM, got {path} ({error}); {_how()}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"expected an Ed25519 public key, got a {type(key).__name__}: {path}; {_how()}")
    return key


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_KEY_BYTES:
            raise InputError(f"expected the PEM file of a key, got a large file: {path}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"expected the PEM file of a key, got none that can be read: {path} ({error.strerror})"
        ) from error


def _how() -> str:
    return f"make a key with `{HOW_PRIVATE}` and `{HOW_PUBLIC}`"
