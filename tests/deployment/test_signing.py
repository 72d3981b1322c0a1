"""Sign, change each byte, verify."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from hemabridge.deployment.archive import pack, unpack
from hemabridge.deployment.signing import check_signature, read_private_key, read_public_key, signed
from hemabridge.errors import InputError, ModelError

PATH = Path("given.hemabridge")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ARCHIVE = pack({"hemabridge.json": b"{}", "card.md": b"a card"})


def test_a_signed_archive_passes_and_has_its_entries() -> None:
    content = signed(ARCHIVE, KEY)
    check_signature(content, KEY.public_key(), PATH)
    assert unpack(content, PATH) == unpack(ARCHIVE, PATH)


def test_each_changed_cut_or_added_byte_breaks_the_signature() -> None:
    content = signed(ARCHIVE, KEY)
    others = [content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :] for place in range(len(content))]
    others += [content[:-1], content[1:], content + b"\0", b"\0" + content, b"", content[-82:], content[-64:]]
    for other in others:
        with pytest.raises(ModelError, match="expected a bundle that is signed by the key"):
            check_signature(other, KEY.public_key(), PATH)


def test_no_other_key_and_no_unsigned_file_passes() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(ModelError, match="was changed or is signed by another"):
        check_signature(signed(ARCHIVE, other), KEY.public_key(), PATH)
    with pytest.raises(ModelError, match="without a signature"):
        check_signature(ARCHIVE, KEY.public_key(), PATH)


def test_keys_of_openssl_are_read(tmp_path: Path) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "pub.pem"
    try:
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    except FileNotFoundError:
        pytest.skip("needs openssl")
    check_signature(signed(ARCHIVE, read_private_key(private)), read_public_key(public), PATH)


def test_other_keys_are_refused_with_what_to_do(tmp_path: Path) -> None:
    curve = generate_private_key(SECP256R1())
    pem, pkcs8, subject = Encoding.PEM, PrivateFormat.PKCS8, PublicFormat.SubjectPublicKeyInfo
    contents = {
        "curve": curve.private_bytes(pem, pkcs8, NoEncryption()),
        "curve-public": curve.public_key().public_bytes(pem, subject),
        "locked": KEY.private_bytes(pem, pkcs8, BestAvailableEncryption(b"word")),
        "text": b"no key",
        "large": bytes(20_000),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"PEM|Ed25519"):
            read_private_key(tmp_path / name)
        with pytest.raises(InputError, match=r"PEM|Ed25519"):
            read_public_key(tmp_path / name)
    with pytest.raises(InputError, match="none that can be read"):
        read_public_key(tmp_path / "missing")
