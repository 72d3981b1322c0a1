"""One small file of every format that was ever written: each opens, or says what to do.

Files named `-before-renaming` were written before recipe keys and methods got their present names; the number of others
is the format that they state, 0 where they state none. Of snapshots only the header of a real training is kept, and put
before a single tensor: opening reads the header alone. Lists of hashes and profiles of sites were cut out.
"""

import base64
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from hemabridge.deployment import bundle
from hemabridge.ensemble.saved import SavedEnsemble, SavedMembers
from hemabridge.ensemble.site_statistics import SiteStatisticsHeader
from hemabridge.errors import HemabridgeError, InputError, ModelError
from hemabridge.evaluation.differential_results import DifferentialResults
from hemabridge.evaluation.label_results import LabelResults
from hemabridge.evaluation.reading import Reading
from hemabridge.evaluation.results import StudyResults
from hemabridge.guard import thresholds
from hemabridge.guard.thresholds import Thresholds
from hemabridge.models import guard_file, open_model
from hemabridge.models.guard_file import Guard
from hemabridge.models.selection_file import Selection
from hemabridge.normalizers import normalizer
from hemabridge.normalizers.catalog import NORMALIZERS, normalizer_from_json
from hemabridge.normalizers.color_table import NODES
from hemabridge.review.key import FORMAT_VERSION, read_key
from hemabridge.synthesis.learning_curve import LearningCurve
from hemabridge.synthesis.pair_results import SynthesisResults
from hemabridge.training import tensorfile
from hemabridge.training.tensorfile import HEADER, read_header
from hemabridge.workflows.adapt.adapted import Adapted
from hemabridge.workflows.adapt.learned_from import LearnedFrom
from hemabridge.workflows.watch.batch import Batch

FORMATS = Path(__file__).parent / "formats"
OPENED = {
    **{f"{name}-0.json": "normalizer" for name in NORMALIZERS if name != "sliced-ot"},  # 107 kB, and read as linear-ot
    **{f"{name}-1.json": "normalizer" for name in (*NORMALIZERS, "learned-lut", "by-subdomain")},
    "theirs.toml": "classifier",
    "bundle-1.hemabridge.base64": "bundle",
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
    "ensemble-3.json": 'the key "method"',
}
"""What `open_model` refuses, and what it then says."""

OTHERS: dict[str, Callable[[Path], object]] = {
    "members-2.json": SavedMembers.read,
    "ensemble-3.json": SavedEnsemble.read,
    "selection-4.json": Selection.read,
    "model-2.guard.json": Guard.read,
    "before-renaming.guard.json": Guard.read,
    "thresholds-2.guard.json": Guard.read,
    "thresholds-3.guard.json": Guard.read,
    "adapted-1.json": Adapted.read,
    "learned-from-1.json": LearnedFrom.read,
    "study-1.json": StudyResults.read,
    "study-1-early.json": StudyResults.read,
    "label-2.json": LabelResults.read,
    "reading-2.json": Reading.read,
    "differential-1.json": DifferentialResults.read,
    "batch-1.json": Batch.read,
    "learning-curve-1.json": LearningCurve.read,
    "synthesis-1.json": SynthesisResults.read,
}
"""Files beside models that are still read."""

UNREAD = {
    "selection-1.json": (Selection.read, "of format 4, got 1; run `hemabridge select RUN` again, or name a snapshot"),
    "selection-2.json": (Selection.read, "of format 4, got 2; run `hemabridge select RUN` again, or name a snapshot"),
    "selection-before-renaming.json": (
        Selection.read,
        "of format 4, got 3; run `hemabridge select RUN` again, or name a snapshot",
    ),
    "label-1.json": (LabelResults.read, "of format 2, got 1; run `hemabridge label RUN FOLDER --out OUT` again"),
    "reading-1.json": (Reading.read, "of format 2, got 1; unblind again"),
}
"""Files beside models that are no longer read, and what is then said."""

STATISTICS = "site-statistics-1.header.json"
KEY = "key-1.json"
BESIDE = {"make.py", "theirs.onnx.base64"}


def model_file(name: str, folder: Path, **changes: Any) -> Path:
    """Return a file to open: the kept one, or a snapshot with the kept header."""
    kept = FORMATS / name
    if name == "theirs.toml":
        (folder / "theirs.onnx").write_bytes(base64.b64decode((FORMATS / "theirs.onnx.base64").read_text("ascii")))
        shutil.copy(kept, folder)
        return folder / name
    if name.endswith(".hemabridge.base64"):
        (folder / "kept.hemabridge").write_bytes(base64.b64decode(kept.read_text("ascii")))
        return folder / "kept.hemabridge"
    if name in ("sliced-ot-1.json", "learned-lut-1.json"):
        table = json.loads(kept.read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(table | {"table": [128.0] * 3 * NODES**3}), encoding="utf-8")
        return folder / name
    if not name.endswith(".header.json"):
        return kept
    header = json.dumps({**json.loads(kept.read_text(encoding="utf-8")), **changes})
    snapshot = folder / "epoch-0001.safetensors"
    snapshot.write_bytes(save({"raw/none": np.zeros(1, np.float32)}, {HEADER: header}))
    return snapshot


def test_every_file_is_tried() -> None:
    assert sorted(path.name for path in FORMATS.iterdir() if path.name != "__pycache__") == sorted(
        {*OPENED, *REFUSED, *OTHERS, *UNREAD, STATISTICS, KEY, *BESIDE}
    )


@pytest.mark.parametrize("name", OPENED)
def test_files_of_formats_that_are_still_read_open(name: str, tmp_path: Path) -> None:
    assert open_model(model_file(name, tmp_path)).kind == OPENED[name]


@pytest.mark.parametrize("name", REFUSED)
def test_files_of_other_formats_say_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refused:
        open_model(model_file(name, tmp_path))
    assert REFUSED[name] in str(refused.value)


@pytest.mark.parametrize(("name", "version"), [("ensemble-before-renaming.json", 1), ("ensemble-2.json", 2)])
def test_an_ensemble_of_an_older_format_says_what_to_do(name: str, version: int) -> None:
    with pytest.raises(HemabridgeError, match=f"format 3, got {version}.*; run the study again"):
        SavedEnsemble.read(FORMATS / name)


@pytest.mark.parametrize("kind", ["translator", "classifier"])
def test_a_snapshot_of_a_newer_format_asks_for_a_newer_program(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="update this one"):
        open_model(model_file(f"{kind}-1.header.json", tmp_path, format=9))


def test_every_format_of_today_is_among_them() -> None:
    kept = {path.name for path in FORMATS.iterdir()}
    today = {
        "adapted": Adapted,
        "batch": Batch,
        "differential": DifferentialResults,
        "ensemble": SavedEnsemble,
        "label": LabelResults,
        "learning-curve": LearningCurve,
        "members": SavedMembers,
        "reading": Reading,
        "selection": Selection,
        "study": StudyResults,
        "synthesis": SynthesisResults,
    }
    assert {f"{name}-{kind.FORMAT}.json" for name, kind in today.items()} | {f"key-{FORMAT_VERSION}.json"} <= kept
    assert {kind.__name__ for kind in today.values()} == subclasses()
    assert {f"model-{guard_file.FORMAT}.guard.json", f"thresholds-{thresholds.FORMAT}.guard.json"} <= kept
    assert f"bundle-{bundle.FORMAT}.hemabridge.base64" in kept
    assert {
        f"{kind}-{tensorfile.FORMAT}.header.json" for kind in ("translator", "classifier", "site-statistics")
    } <= kept
    assert {f"{name}-{normalizer.FORMAT}.json" for name in NORMALIZERS} <= kept


def subclasses() -> set[str]:
    """Return the names of the classes of all results that are stored with a format."""
    texts = [path.read_text(encoding="utf-8") for path in (FORMATS.parents[2] / "src").rglob("*.py")]
    return {
        name
        for text in texts
        for name in re.findall(r"^class (\w+)\((?:\w+, )*(?:ResultsFile|SavedMembers)\)", text, re.M)
    }


def test_the_key_of_a_review_is_read() -> None:
    (item,) = read_key(FORMATS / KEY)
    assert (item.arms, item.cell_type) == (("original",), "blast")


@pytest.mark.parametrize("name", OTHERS)
def test_files_beside_models_are_read(name: str) -> None:
    assert OTHERS[name](FORMATS / name) is not None


@pytest.mark.parametrize("name", UNREAD)
def test_files_beside_models_of_other_formats_say_what_to_do(name: str) -> None:
    read, said = UNREAD[name]
    with pytest.raises(HemabridgeError, match=said):
        read(FORMATS / name)


def test_statistics_of_a_site_are_read_or_ask_for_a_newer_program(tmp_path: Path) -> None:
    path = model_file(STATISTICS, tmp_path)
    assert SiteStatisticsHeader.of(read_header(path), path).weight == 0.5
    path = model_file(STATISTICS, tmp_path, format=9)
    with pytest.raises(ModelError, match="update this one"):
        SiteStatisticsHeader.of(read_header(path), path)


@pytest.mark.parametrize("name", [*OTHERS, "macenko-1.json", "by-subdomain-1.json", "macenko-0.json"])
def test_what_a_newer_version_writes_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    table = json.loads((FORMATS / name).read_text(encoding="utf-8"))
    read = OTHERS.get(name, open_model)
    (tmp_path / name).write_text(json.dumps(table | {"format": 99}), encoding="utf-8")
    with pytest.raises(HemabridgeError, match="got 99, which a newer hemabridge wrote; update hemabridge"):
        read(tmp_path / name)
    (tmp_path / name).write_text(json.dumps(table | {"format": "one"}), encoding="utf-8")
    with pytest.raises(HemabridgeError, match=r"got 'one'; .*again"):
        read(tmp_path / name)


def test_a_normalizer_or_guard_without_a_version_is_of_the_format_before() -> None:
    text = (FORMATS / "macenko-0.json").read_text(encoding="utf-8")
    assert "format" not in json.loads(text)
    assert json.loads(normalizer_from_json(text).to_json())["format"] == 1
    old: dict[str, Any] = json.loads((FORMATS / "before-renaming.guard.json").read_text(encoding="utf-8"))
    assert (old["version"], old["thresholds"]["version"]) == (1, 1)
    limits = Thresholds.from_json(json.dumps(old["thresholds"]))
    assert json.loads(limits.to_json())["format"] == 3
    with pytest.raises(ModelError, match="expected a guard's limits of format 3, got 4, which a newer"):
        Thresholds.from_json(json.dumps(old["thresholds"] | {"format": 4}))


def test_a_newer_record_of_what_a_run_learned_from_says_what_to_do(tmp_path: Path) -> None:
    kept = json.loads((FORMATS / "learned-from-1.json").read_text(encoding="utf-8"))
    file = tmp_path / "learned-from.json"
    file.write_text(json.dumps({name: value for name, value in kept.items() if name != "format"}), encoding="utf-8")
    assert LearnedFrom.read(file) == LearnedFrom.read(FORMATS / "learned-from-1.json")
    file.write_text(json.dumps(kept | {"format": 2}), encoding="utf-8")
    with pytest.raises(InputError, match="got 2, which a newer hemabridge wrote"):
        LearnedFrom.read(file)
