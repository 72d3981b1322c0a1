"""`hemabridge log verify`: the audit log of a watched folder, and whether the images are those that it lists."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hemabridge.deployment.audit_log import Chain, check_chain, read_entries
from hemabridge.errors import InputError, RunError
from hemabridge.storage.files import sha256_of
from hemabridge.workflows.adapt.apply import RESTAINED
from hemabridge.workflows.watch.batch import BATCHES, HELD
from hemabridge.workflows.watch.watch import LOG


@dataclass(frozen=True)
class CheckedLog:
    """A log whose entries are as they were written.

    Attributes:
        chain: number of entries, and hash of the last one.
        compared: number of re-stained images that are as the log says.
        missing: number of re-stained images that are no longer there.
    """

    chain: Chain
    compared: int
    missing: int


def check_log(out: Path, last: str | None = None) -> CheckedLog:
    """Check the log of the output folder of `hemabridge watch`, and the re-stained images in it.

    Args:
        out: the folder.
        last: the hash of an entry that was noted earlier, which must be in the log; None: none was noted.

    Raises:
        InputError: there is no log.
        RunError: an entry or an image was changed, or the noted entry is missing.
    """
    path = out / LOG
    if not path.is_file():
        raise InputError(f"expected the output folder of `hemabridge watch`, got {out} without {LOG}")
    chain = check_chain(path)
    if last is not None and all(entry["hash"] != last for entry in read_entries(path)):
        raise RunError(
            f"expected an entry with the hash {last} in the log, got none: {path}; entries were cut off, or all were "
            "written again, keep the file as evidence"
        )
    compared = missing = 0
    for name, sha256 in _restained(path):
        files = [out / place / name for place in (BATCHES, HELD)]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            missing += 1
        elif sha256_of(file) != sha256:
            raise RunError(f"expected the image that the log lists, got another: {file}; it was changed after that")
        else:
            compared += 1
    return CheckedLog(chain, compared, missing)


def _restained(path: Path) -> Iterator[tuple[str, str]]:
    """Yield path within `BATCHES` or `HELD`, and SHA-256, of each re-stained image."""
    for entry in read_entries(path):
        if entry.get("event") == "image" and entry.get("output_sha256"):
            yield f"{entry['batch']}/{RESTAINED}/{entry['path']}", str(entry["output_sha256"])
