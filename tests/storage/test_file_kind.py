import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from hemabridge.errors import InputError, RunError
from hemabridge.storage.file_kind import DEEPEST, FileKind

KIND = FileKind("a thing", InputError, "make it again", largest_bytes=1_000_000)


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "thing"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    assert KIND.read_object(written(tmp_path, b'\xef\xbb\xbf{"a": [1, 2.5, null]}')) == {"a": [1, 2.5, None]}
    assert KIND.parse_toml(KIND.read_text(written(tmp_path, b"\xef\xbb\xbfa = 1\r\n"))) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("null", "got null instead of an object"),
        ("[]", "got a list instead of an object"),
        ('"x"', "got a text instead of an object"),
        ("1", "got a number instead of an object"),
        ("", "got something else"),
        ('{"a": 1', "got something else"),
        ('{"a": {"b": [0, NaN]}}', r"got nan instead of a finite number at a\.b\.1"),
        ('{"a": -Infinity}', "got -inf instead of a finite number at a"),
        ('{"a": 1e999}', "got inf instead of a finite number at a"),
        ('{"a": ' + "9" * 5000 + "}", "got something else"),
        ('{"a": ' + "9" * 30 + "}", "got an integer of more than 64 bits at a"),
        ('{"a": ' + "[" * DEEPEST + "]" * DEEPEST + "}", f"got lists or objects nested deeper than {DEEPEST}"),
        ('{"a": ' + "[" * 200_000, f"got lists or objects nested deeper than {DEEPEST}"),
        (b'{"a": "\xff"}', "got 'utf-8' codec"),
        ('{"a": "' + "x" * 1_000_000 + '"}', "got more than 1,000,000 bytes"),
    ],
)
def test_damaged_json_is_told(tmp_path: Path, content: str | bytes, got: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=rf"^expected a thing, {got}[\s\S]*: {path}; make it again$"):
        KIND.read_object(path)


def test_values_within_the_limits_are_taken() -> None:
    deep = "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1)
    found = KIND.parse_object(f'{{"a": {deep}, "b": {2**64 - 1}, "c": {-(2**63)}}}')
    assert found == json.loads(f'{{"a": {deep}, "b": {2**64 - 1}, "c": {-(2**63)}}}')


@pytest.mark.parametrize(
    "text", ["a = nan", "a = inf", "a = " + "9" * 5000, "a = " + "9" * 30, "a = " + "[" * 100_000, "a =", "\ufeffa = 1"]
)
def test_damaged_toml_is_told(text: str) -> None:
    with pytest.raises(InputError, match=r"^expected a thing, got .*; make it again"):
        KIND.parse_toml(text)


def test_rows_are_read_and_a_cell_beyond_the_limit_is_told() -> None:
    assert KIND.parse_csv('a,b\n"1,2",3\n\n') == [["a", "b"], ["1,2", "3"]]
    assert KIND.parse_csv('a,b\n1,"2', strict=False) == [["a", "b"], ["1", "2"]]
    for text in ('a,b\n1,"2', "a\n" + "x" * 131_073):
        with pytest.raises(InputError, match=r"^expected a thing, got .*here; make it again$"):
            KIND.parse_csv(text, "here")


def test_a_model_is_read_and_another_told(tmp_path: Path) -> None:
    adapter = TypeAdapter(dict[str, tuple[int, ...]])
    assert KIND.read_as(written(tmp_path, '{"a": [1, 2]}'), adapter) == {"a": (1, 2)}
    with pytest.raises(InputError, match=r"got something else in a\.1 \(.*\): .*thing; make it again"):
        KIND.read_as(written(tmp_path, '{"a": [1, "x"]}'), adapter)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got no file"):
        KIND.read_text(tmp_path / "none")
    with pytest.raises(InputError, match="got a folder"):
        KIND.read_text(tmp_path)
    with pytest.raises(InputError, match="expected a thing"):
        KIND.read_text(tmp_path / "a\0b")


@pytest.mark.parametrize("array", [np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.zeros((0, 3)), np.float32(2.0)])
def test_an_array_is_read(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    found = KIND.read_array(tmp_path / "a.npy")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    found += 1  # a copy: the file stays


def cut(content: bytes) -> bytes:
    return content[:-1]


def vast(content: bytes) -> bytes:
    return content.replace(b"(10,), }            ", b"(10000000000000,), }")


@pytest.mark.parametrize("damage", [cut, vast, lambda _: b"", lambda content: content[:40], lambda _: b"PK\x03\x04"])
def test_a_damaged_array_is_told(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(10))
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    with pytest.raises(RunError, match=r"expected images, got a damaged one .*a\.npy"):
        FileKind("images").read_array(path)
