"""The container of a bundle is a plain zip file, and no other zip file is one."""

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemabridge.deployment.archive import MOST_ENTRIES, for_signature, is_signed, pack, unpack
from hemabridge.errors import ModelError

PATH = Path("given.hemabridge")
ENTRIES = {"hemabridge.json": b"{}", "test/cell-1.png": b"\x89PNG" + bytes(40), "empty.txt": b""}


def test_another_zip_program_reads_what_is_packed() -> None:
    with zipfile.ZipFile(io.BytesIO(pack(ENTRIES))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == ENTRIES
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def test_entries_come_back_in_their_order_signed_or_not() -> None:
    packed = pack(ENTRIES)
    for content in (packed, for_signature(packed) + bytes(64)):
        assert list(unpack(content, PATH).items()) == list(ENTRIES.items())
    assert not is_signed(packed)
    assert is_signed(for_signature(packed) + bytes(64))


def test_a_signed_archive_is_a_zip_file_too() -> None:
    with zipfile.ZipFile(io.BytesIO(for_signature(pack(ENTRIES)) + bytes(64))) as archive:
        assert archive.namelist() == list(ENTRIES)
        assert len(archive.comment) == 82


def test_each_changed_byte_is_noticed() -> None:
    packed = pack(ENTRIES)
    survived = []
    for place in range(len(packed)):
        changed = bytearray(packed)
        changed[place] ^= 0x20
        try:
            survived.append((place, unpack(bytes(changed), PATH)))
        except ModelError:
            continue
    assert survived == []


def test_each_cut_and_each_added_byte_is_noticed() -> None:
    packed = pack(ENTRIES)
    for length in range(len(packed)):
        with pytest.raises(ModelError, match="expected a bundle as"):
            unpack(packed[:length], PATH)
    for other in (packed + b"\0", b"\0" + packed, packed + packed, packed + bytes(82)):
        with pytest.raises(ModelError, match="expected a bundle as"):
            unpack(other, PATH)


def by_zipfile(write: Callable[[zipfile.ZipFile], None]) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of an entry that is there twice
        with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
            write(archive)
    return content.getvalue()


def plain(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def a_link(archive: zipfile.ZipFile) -> None:
    entry = plain("link.txt")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    archive.writestr(entry, "/etc/passwd")


def twice(archive: zipfile.ZipFile) -> None:
    archive.writestr(plain("a.txt"), "1")
    archive.writestr(plain("a.txt"), "2")


def a_comment(archive: zipfile.ZipFile) -> None:
    archive.writestr(plain("a.txt"), "1")
    archive.comment = b"comment"


def deflated(archive: zipfile.ZipFile) -> None:
    archive.writestr(plain("a.txt"), "1" * 1000, zipfile.ZIP_DEFLATED)


def zip64(archive: zipfile.ZipFile) -> None:
    with archive.open(plain("a.txt"), "w", force_zip64=True) as entry:
        entry.write(b"1")


@pytest.mark.parametrize("write", [a_link, twice, a_comment, deflated, zip64])
def test_tricks_of_zip_files_are_refused(write: Callable[[zipfile.ZipFile], None]) -> None:
    with pytest.raises(ModelError, match="expected a bundle as"):
        unpack(by_zipfile(write), PATH)


@pytest.mark.parametrize(
    "name",
    ["../a.txt", "/a.txt", "a/../b.txt", "A.txt", "a\\b.txt", "a/b/c.txt", "a.txt\0", "a", "é.txt", "a/", "c:.txt"],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ModelError):
        pack({name: b""})
    # The same archive with such a name in the place of a good one of its length.
    encoded = name.encode()
    good = ("x" * 40)[: max(1, len(encoded) - 2)] + ".txt"
    packed = pack({good: b"1"}).replace(good.encode(), encoded.ljust(len(good), b"."))
    with pytest.raises(ModelError, match="expected a bundle as"):
        unpack(packed, PATH)


def test_overlapping_entries_are_refused() -> None:
    """Two entries of the directory that share one local header, as in a zip bomb."""
    packed = pack({"a.txt": b"1", "b.txt": b"2"})
    start = packed.index(b"PK\x01\x02")
    entry = packed[start : packed.index(b"PK\x01\x02", start + 4)]
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2, 2, 2 * len(entry), start, 0)
    with pytest.raises(ModelError, match="another directory"):
        unpack(packed[:start] + entry + entry + end, PATH)


def test_too_many_entries_are_refused() -> None:
    many = {f"a{number}.txt": b"" for number in range(MOST_ENTRIES + 1)}
    with pytest.raises(ModelError, match="expected 1 to 64 entries"):
        pack(many)
    with pytest.raises(ModelError, match="expected a bundle as"):
        unpack(by_zipfile(lambda archive: [archive.writestr(plain(name), "") for name in many] and None), PATH)


@given(st.binary(max_size=300))
def test_no_bytes_end_otherwise_than_in_an_error(content: bytes) -> None:
    for given_bytes in (content, b"PK\x03\x04" + content):
        try:
            unpack(given_bytes, PATH)
        except ModelError:
            continue
        pytest.fail("random bytes are no archive")
