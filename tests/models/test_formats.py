"""One small file of every format that was ever written: each opens, or says what to do.

Files named `-before-renaming` were written before recipe keys and methods got their present names; the number of others
is the format that they state, 0 where they state none. Of snapshots only the header of a real training is kept, and put
before a single tensor: opening reads the header alone. Lists of hashes and profiles of sites were cut out.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from hemabridge.ensemble.saved import SavedEnsemble
from hemabridge.errors import HemabridgeError, ModelError
from hemabridge.models import open_model
from hemabridge.normalizers.catalog import NORMALIZERS
from hemabridge.training.tensorfile import HEADER

FORMATS = Path(__file__).parent / "formats"
OPENED = {
    **{f"{name}-0.json": "normalizer" for name in NORMALIZERS if name != "sliced-ot"},  # 107 kB, and read as linear-ot
    **{f"{name}-before-renaming.json": "normalizer" for name in ("linear-ot", "macenko", "vahadane")},
    **{f"{kind}-{number}.header.json": kind for kind in ("translator", "classifier") for number in (0, 1)},
}
"""What still opens, and as what."""

REFUSED = {
    "translator-before-renaming.header.json": "if an older hemabridge wrote it, train it again",
    "classifier-before-renaming.header.json": "if an older hemabridge wrote it, train it again",
    "by-look-before-renaming.json": "fit it again",
    "taught-table-before-renaming.json": "fit it again",
    "ensemble-before-renaming.json": 'the key "method"',
    "ensemble-2.json": 'the key "method"',
}
"""What `open_model` refuses, and what it then says."""


def model_file(name: str, folder: Path, **changes: Any) -> Path:
    """Return a file to open: the kept one, or a snapshot with the kept header."""
    kept = FORMATS / name
    if not name.endswith(".header.json"):
        return kept
    header = json.dumps({**json.loads(kept.read_text(encoding="utf-8")), **changes})
    snapshot = folder / "epoch-0001.safetensors"
    snapshot.write_bytes(save({"raw/none": np.zeros(1, np.float32)}, {HEADER: header}))
    return snapshot


def test_every_file_is_tried() -> None:
    assert sorted(path.name for path in FORMATS.iterdir()) == sorted([*OPENED, *REFUSED])


@pytest.mark.parametrize("name", OPENED)
def test_files_of_formats_that_are_still_read_open(name: str, tmp_path: Path) -> None:
    assert open_model(model_file(name, tmp_path)).kind == OPENED[name]


@pytest.mark.parametrize("name", REFUSED)
def test_files_of_other_formats_say_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refused:
        open_model(model_file(name, tmp_path))
    assert REFUSED[name] in str(refused.value)


def test_an_ensemble_of_the_present_format_is_read_and_an_older_one_says_what_to_do() -> None:
    assert SavedEnsemble.read(FORMATS / "ensemble-2.json").restainings
    with pytest.raises(HemabridgeError, match="format 2, got 1"):
        SavedEnsemble.read(FORMATS / "ensemble-before-renaming.json")


@pytest.mark.parametrize("kind", ["translator", "classifier"])
def test_a_snapshot_of_a_newer_format_asks_for_a_newer_program(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="update this one"):
        open_model(model_file(f"{kind}-1.header.json", tmp_path, format=9))
