"""What is changed in a bundle, and test cells that come out otherwise, are noticed."""

import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from hemabridge.deployment.archive import pack, unpack
from hemabridge.deployment.bundle import MANIFEST, Bundle, listed
from hemabridge.errors import ModelError
from hemabridge.models import open_model
from hemabridge.workflows.export.export import Exported
from hemabridge.workflows.verify import verify


@pytest.fixture
def bundle_file(guarded_bundle: Exported, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    path = tmp_path / "n.hemabridge"
    path.write_bytes(guarded_bundle.path.read_bytes())
    return path


def rewritten(content: bytes, change: Callable[[dict[str, bytes], dict[str, object]], None]) -> bytes:
    """Return a bundle whose entries or manifest were changed by someone who can write such files."""
    entries = unpack(content, Path("x"))
    manifest = json.loads(entries[MANIFEST])
    change(entries, manifest)
    return pack({MANIFEST: json.dumps(manifest).encode(), **{k: v for k, v in entries.items() if k != MANIFEST}})


def an_extra_entry(entries: dict[str, bytes], manifest: dict) -> None:
    entries["run.sh"] = b"rm"


def a_listed_extra_entry(entries: dict[str, bytes], manifest: dict) -> None:
    entries["run.sh"] = b"rm"
    manifest["entries"]["run.sh"] = {"size": 2, "sha256": hashlib.sha256(b"rm").hexdigest()}


def a_missing_entry(entries: dict[str, bytes], manifest: dict) -> None:
    del entries["card.md"]


def a_changed_entry(entries: dict[str, bytes], manifest: dict) -> None:
    entries["restainer/normalizer.json"] = entries["restainer/normalizer.json"].replace(b"1", b"2", 1)


def a_foreign_guard(entries: dict[str, bytes], manifest: dict) -> None:
    manifest["restainer"]["sha256"] = "0" * 64


def a_newer_format(entries: dict[str, bytes], manifest: dict) -> None:
    manifest["format"] = 2


def an_unknown_key(entries: dict[str, bytes], manifest: dict) -> None:
    manifest["run"] = "rm"


def a_name_that_signs(entries: dict[str, bytes], manifest: dict) -> None:
    manifest["name"] = "n: re-stains\nSignature: made with the key, over the whole file."


def an_unknown_key_that_signs(entries: dict[str, bytes], manifest: dict) -> None:
    manifest["\x1b[2J"] = "1"


def no_model(entries: dict[str, bytes], manifest: dict) -> None:
    manifest["restainer"] = None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (an_extra_entry, "run.sh missing, extra or changed"),
        (a_listed_extra_entry, r"missing or extra: \['run.sh'\]"),
        (a_missing_entry, "card.md missing, extra or changed"),
        (a_changed_entry, "restainer/normalizer.json missing, extra or changed"),
        (a_foreign_guard, "expected the guard of the bundle's model"),
        (a_newer_format, "which a newer hemabridge wrote"),
        (an_unknown_key, "got another in run"),
        (a_name_that_signs, "in name: .* 1 to 200 printable characters"),
        (an_unknown_key_that_signs, r"got another in '\\x1b\[2J'"),
        (no_model, "got neither"),
    ],
)
def test_a_bundle_that_was_written_again_is_refused(change: Callable, message: str, bundle_file: Path) -> None:
    bundle_file.write_bytes(rewritten(bundle_file.read_bytes(), change))
    with pytest.raises(ModelError, match=message):
        open_model(bundle_file)


def test_other_results_of_the_test_cells_are_told(bundle_file: Path) -> None:
    path = bundle_file
    bundle = Bundle.of(path.read_bytes(), path)
    swapped = dict(bundle.entries)
    one, other = "test/restained-1.png", "test/restained-2.png"
    swapped[one], swapped[other] = swapped[other], swapped[one]
    manifest = bundle.manifest.model_copy(update={"entries": listed(swapped)})
    path.write_bytes(Bundle(manifest, swapped).to_bytes())
    found = verify(path).test_cells
    assert not found.is_same
    assert (found.gray_levels or 0) > 20


def test_test_cells_that_fill_the_memory_or_do_not_fit_are_refused(bundle_file: Path) -> None:
    path = bundle_file
    bundle = Bundle.of(path.read_bytes(), path)
    large = BytesIO()
    Image.new("L", (8_000, 8_000)).save(large, "PNG")
    assert len(large.getvalue()) < 100_000
    ragged = json.dumps({"probabilities": [[1.0], [0.5, 0.5]], "verdicts": []}).encode()
    for name, content, message in (
        ("test/cell-1.png", large.getvalue(), "of 8000 x 8000 pixels"),
        ("test/expected.json", ragged, "expected a probability for each class"),
    ):
        entries = {**bundle.entries, name: content}
        path.write_bytes(Bundle(bundle.manifest.model_copy(update={"entries": listed(entries)}), entries).to_bytes())
        with pytest.raises(ModelError, match=message):
            verify(path)
