"""The images of a request: whatever the bytes, parsed whole or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemabridge.errors import InputError
from hemabridge.service.sent import LONGEST_NAME, Sent, images_of

FORM = "multipart/form-data; boundary=bound"


def part(content: bytes, disposition: bytes = b'form-data; name="images"; filename="a.png"') -> bytes:
    return b"--bound\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + content + b"\r\n"


@given(st.lists(st.binary().filter(lambda content: b"\r\n--bound" not in b"\r\n" + content), min_size=1, max_size=5))
def test_contents_come_back_to_the_byte(contents: list[bytes]) -> None:
    body = b"".join(map(part, contents)) + b"--bound--\r\n"
    assert [sent.content for sent in images_of(body, FORM, 5)] == contents


@given(st.binary(max_size=300), st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_bytes_are_parsed_or_refused(body: bytes, content_type: str) -> None:
    for kind in (FORM, content_type):
        try:
            found = images_of(body, kind, 3)
        except InputError:
            continue
        assert 1 <= len(found) <= 3


@given(st.binary(max_size=60))
def test_any_header_of_a_part_is_parsed_or_refused(header: bytes) -> None:
    body = b"--bound\r\n" + header + b"\r\n\r\n1\r\n--bound--\r\n"
    try:
        found = images_of(body, FORM, 3)
    except InputError:
        return
    assert all(sent.name and len(sent.name) <= LONGEST_NAME and sent.name.isprintable() for sent in found)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'form-data; name="images"; filename="C:\\\\patients\\\\cell 1.tif"', "cell 1.tif"),
        (b'form-data; name="images"; filename="../../etc/cell.png"', "cell.png"),
        ('form-data; name="images"; filename="célula.png"'.encode(), "célula.png"),
        (b"form-data; name=images; filename*=UTF-8''c%C3%A9lula.png", "célula.png"),
        (b'form-data; name="images"; filename="a\x07b.png"', "a\ufffdb.png"),
    ],
)
def test_names_are_the_last_part_and_can_be_printed(disposition: bytes, name: str) -> None:
    (sent,) = images_of(part(b"1", disposition) + b"--bound--", FORM, 1)
    assert sent.name == name


def test_what_stands_around_the_parts_is_ignored() -> None:
    body = b"before\r\n" + part(b"1") + b"--bound--\r\nafter"
    assert [sent.content for sent in images_of(body, FORM, 1)] == [b"1"]


@pytest.mark.parametrize(
    ("name", "content", "suffix"),
    [
        ("cell.TIF", b"", ".TIF"),
        ("image", b"\x89PNG", ".png"),
        ("image.dat", b"\xff\xd8\xff\xe0", ".jpg"),
        ("slide.1", b"MM\x00*", ".tif"),
        ("image", b"?", ".png"),
    ],
)
def test_the_suffix_is_that_of_the_name_or_of_the_content(name: str, content: bytes, suffix: str) -> None:
    assert Sent(name, content).suffix == suffix
