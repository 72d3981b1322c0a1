"""One small file of every format that was ever written: each opens, or says what to do.

Files named `-before-renaming` were written before recipe keys and methods got their present names; the number of others
is the format that they state, 0 where they state none. Snapshots hold the header of a real training and a single
tensor: opening reads the header alone. Lists of hashes and profiles of sites were cut out.
"""

from pathlib import Path

import pytest

from hemabridge.ensemble.saved import SavedEnsemble
from hemabridge.errors import HemabridgeError, ModelError
from hemabridge.models import open_model
from hemabridge.normalizers.catalog import NORMALIZERS

FORMATS = Path(__file__).parent / "formats"
OPENED = {
    **{f"{name}-0.json": "normalizer" for name in NORMALIZERS if name != "sliced-ot"},  # 107 kB, and read as linear-ot
    **{f"{name}-before-renaming.json": "normalizer" for name in ("linear-ot", "macenko", "vahadane")},
    **{f"{kind}-{number}.safetensors": kind for kind in ("translator", "classifier") for number in (0, 1)},
}
"""What still opens, and as what."""

REFUSED = {
    "translator-before-renaming.safetensors": "if an older hemabridge wrote it, train it again",
    "classifier-before-renaming.safetensors": "if an older hemabridge wrote it, train it again",
    "by-look-before-renaming.json": "fit it again",
    "taught-table-before-renaming.json": "fit it again",
    "ensemble-before-renaming.json": 'the key "method"',
    "ensemble-2.json": 'the key "method"',
}
"""What `open_model` refuses, and what it then says."""


def test_every_file_is_tried() -> None:
    assert sorted(path.name for path in FORMATS.iterdir()) == sorted([*OPENED, *REFUSED])


@pytest.mark.parametrize("name", OPENED)
def test_files_of_formats_that_are_still_read_open(name: str) -> None:
    assert open_model(FORMATS / name).kind == OPENED[name]


@pytest.mark.parametrize("name", REFUSED)
def test_files_of_other_formats_say_what_to_do(name: str) -> None:
    with pytest.raises(ModelError) as refused:
        open_model(FORMATS / name)
    assert REFUSED[name] in str(refused.value)


def test_an_ensemble_of_the_present_format_is_read_and_an_older_one_says_what_to_do() -> None:
    assert SavedEnsemble.read(FORMATS / "ensemble-2.json").restainings
    with pytest.raises(HemabridgeError, match="format 2, got 1"):
        SavedEnsemble.read(FORMATS / "ensemble-before-renaming.json")


@pytest.mark.parametrize("kind", ["translator", "classifier"])
def test_a_snapshot_of_a_newer_format_asks_for_a_newer_program(kind: str, tmp_path: Path) -> None:
    content = (FORMATS / f"{kind}-1.safetensors").read_bytes()
    newer = tmp_path / "newer.safetensors"
    newer.write_bytes(content.replace(b'\\"format\\": 1', b'\\"format\\": 9'))
    with pytest.raises(ModelError, match="update this one"):
        open_model(newer)
