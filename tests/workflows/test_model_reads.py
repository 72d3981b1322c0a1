"""Each command opens each model once, and hashes it once; the larger commands are counted beside their own tests."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hemabridge.data.index import index_folder
from hemabridge.data.manifest import write_manifest
from hemabridge.models import open_model
from hemabridge.workflows.adapt.apply import run
from hemabridge.workflows.audit import audit_manifest
from hemabridge.workflows.classify.classify import classify
from hemabridge.workflows.drift import drift
from hemabridge.workflows.export.export import export
from hemabridge.workflows.guard import learn_guard
from hemabridge.workflows.label.label import label
from hemabridge.workflows.verify import verify

if TYPE_CHECKING:
    from hemabridge.workflows.adapt.adapted import Adapted


def _run(used: Path, folder: Path, out: Path) -> object:
    return run(used, folder, out)


def _classify(used: Path, folder: Path, out: Path) -> object:
    return classify(open_model(used), folder, out)


def _label(used: Path, folder: Path, out: Path) -> object:
    return label(used, folder, out, k=2)


def _export(used: Path, folder: Path, out: Path) -> object:
    return export(used, out / "model", images=folder)


def _verify(used: Path, folder: Path, out: Path) -> object:
    return verify(used)


def _guard(used: Path, folder: Path, out: Path) -> object:
    return learn_guard(used, folder)


def _audit(used: Path, folder: Path, out: Path) -> object:
    write_manifest(index_folder(folder, "site").manifest, out.with_suffix(".csv"))
    return audit_manifest(out.with_suffix(".csv"), root=folder, model=used)


def _drift(used: Path, folder: Path, out: Path) -> object:
    return drift(used, [folder], out)


APPLIED = {"run": _run, "label": _label}
BUNDLED = {"run, a bundle": _run, "classify, a bundle": _classify, "verify": _verify}
NORMALIZED = {"export, a normalizer": _export, "guard": _guard, "audit": _audit, "drift": _drift}


@pytest.mark.parametrize("name", APPLIED)
def test_a_run_of_adapt_is_opened_once(
    name: str, adapted_run: "tuple[Path, Adapted]", unlabeled: Path, tmp_path: Path, reads: Any
) -> None:
    used, adapted = adapted_run
    with reads(name):
        APPLIED[name](used, unlabeled, tmp_path / "out")
    reads.check_once(name, used / adapted.classifier, used / adapted.normalizer)


@pytest.mark.usefixtures("exported")
def test_a_run_of_adapt_is_opened_once_by_its_export(adapted_run: "tuple[Path, Adapted]", reads: Any) -> None:
    used, adapted = adapted_run
    reads.check_opened_once("export", used / adapted.classifier, used / adapted.normalizer)  # it hashes entries, too


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundle_is_opened_once(name: str, bundle: Path, unlabeled: Path, tmp_path: Path, reads: Any) -> None:
    with reads(name):
        BUNDLED[name](bundle, unlabeled, tmp_path / "out")
    reads.check_once(name, bundle)


@pytest.mark.parametrize("name", NORMALIZED)
def test_a_normalizer_is_opened_once(
    name: str, guarded_normalizer: Path, photographs: Path, tmp_path: Path, reads: Any
) -> None:
    used = Path(shutil.copy(guarded_normalizer, tmp_path / "linear-ot.json"))
    with reads(name):
        NORMALIZED[name](used, photographs / "clinic-like", tmp_path / "out")
    reads.check_opened_once(name, used)
    if not name.startswith("export"):
        reads.check_once(name)


def test_the_counter_sees_a_second_reading(guarded_normalizer: Path, reads: Any) -> None:
    read: Callable[[], bytes] = guarded_normalizer.read_bytes
    with reads("twice"):
        open_model(guarded_normalizer)
        read()
    with pytest.raises(AssertionError):
        reads.check_once("twice", guarded_normalizer)
