import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.network import new_network, preprocessing_of
from hemabridge.ensemble.fit_ensemble import site_statistics
from hemabridge.ensemble.fitted import ENSEMBLE_FILE, TRANSLATOR, FittedEnsemble
from hemabridge.ensemble.members import MEMBERS_FILE, Member, Members
from hemabridge.ensemble.saved import SavedEnsemble
from hemabridge.errors import InputError, ModelError
from hemabridge.imaging.rescaled import RescaledStandardizer
from hemabridge.models import open_model
from hemabridge.normalizers.by_subdomain import BySubdomain
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.training.snapshots import write_snapshot
from hemabridge.training.tensorfile import read_tensors, write_tensors

CLASSES = ("dark", "bright")
RNG = np.random.default_rng(0)
GLASSES = [np.clip(RNG.normal(field, 5, (4, 32, 32, 3)), 0, 255).astype(np.uint8) for field in ((250, 240, 130), 245)]
IMAGES = np.concatenate(GLASSES)


def member(folder: Path) -> Member:
    """Write the snapshot of a small network with random weights, and open it."""
    config = ClassifierConfig(architecture="test_resnet", size_px=32)
    about = {
        "kind": "classifier",
        "config": config.model_dump(mode="json"),
        "preprocessing": preprocessing_of(config).model_dump(mode="json"),
        "classes": list(CLASSES),
    }
    raw = {key.replace(".", "/", 1): value for key, value in new_network("test_resnet", 32, 2).state_dict().items()}
    return Member.of_snapshot(write_snapshot(folder, 8, 1.0, raw, None, about).path)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def fitted(study: Path) -> FittedEnsemble:
    """An ensemble with all that a file can hold."""
    own = [(images, fit_on_cells("white-point", images, images)) for images in GLASSES]
    given = member(study / "given").classifier
    unfitted = FittedEnsemble(
        (Member(given, external="given"), member(study / "color")),
        (member(study / "shape"),),
        {"white-point": BySubdomain.of(own, GLASSES[0]), "linear-ot": fit_on_cells("linear-ot", IMAGES, GLASSES[0])},
        prevalence=np.array([0.25, 0.75]),
    )
    rng = np.random.default_rng(0)
    statistics = site_statistics(unfitted, dict(unfitted.inputs(IMAGES)), unfitted.predict(IMAGES), rng)
    return replace(unfitted, site_statistics=replace(statistics, weight=0.6))


@pytest.fixture(scope="module")
def saved(fitted: FittedEnsemble, study: Path) -> Path:
    folder = study / "ensemble"
    folder.mkdir()
    fitted.save(folder, study)
    Members(fitted.color_members, fitted.shape_members).save(folder, study)
    return folder


def test_what_is_loaded_predicts_the_same_to_the_bit(fitted: FittedEnsemble, saved: Path, study: Path) -> None:
    loaded = FittedEnsemble.load(saved, study, {"given": fitted.color_members[0].classifier})
    np.testing.assert_array_equal(loaded.predict(IMAGES), fitted.predict(IMAGES))
    np.testing.assert_array_equal(loaded.predict_target(IMAGES), fitted.predict_target(IMAGES))
    assert list(loaded.restainings) == ["white-point", "linear-ot"]
    assert loaded.site_statistics is not None
    assert fitted.site_statistics is not None
    assert loaded.site_statistics.weight == fitted.site_statistics.weight
    np.testing.assert_array_equal(loaded.prevalence, [0.25, 0.75])


def test_members_are_loaded_as_they_were_saved(fitted: FittedEnsemble, saved: Path, study: Path) -> None:
    members = Members.load(saved, study, {"given": fitted.color_members[0].classifier})
    assert [each.external for each in members.color] == ["given", None]
    assert [each.snapshot for each in members.color] == [None, fitted.color_members[1].snapshot]
    assert [each.snapshot for each in members.shape] == [fitted.shape_members[0].snapshot]


def test_the_facts_of_a_report_name_members_and_statistics(saved: Path) -> None:
    assert SavedEnsemble.read(saved / ENSEMBLE_FILE).facts() == {
        "ensemble: re-stainings": "white-point, linear-ot",
        "ensemble: color members": "2",
        "ensemble: shape members": "1",
        "ensemble: batch norm": "statistics of the target, and of the source's unlabeled cells (AdaBN)",
        "ensemble: predicted prevalence in the source": "dark 25 %, bright 75 %",
    }


def test_statistics_of_other_members_are_refused(fitted: FittedEnsemble, saved: Path, study: Path) -> None:
    file = saved / "site-statistics.safetensors"
    content = file.read_bytes()
    tensors, header = read_tensors(file)
    external = {"given": fitted.color_members[0].classifier}
    for changed in (
        {name: value for name, value in tensors.items() if not name.endswith("bn1.running_mean")},
        {name: value * float("nan") for name, value in tensors.items()},
    ):
        write_tensors(file, changed, header)
        with pytest.raises(ModelError, match="expected finite batch norm statistics of"):
            FittedEnsemble.load(saved, study, external)
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="expected a whole safetensors file"):
        FittedEnsemble.load(saved, study, external)
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        (ENSEMBLE_FILE, "restainings", {"linear-ot": "../elsewhere.json"}, "expected a file of the study"),
        (ENSEMBLE_FILE, "color_members", ["../elsewhere.json"], "expected a file of the study"),
        (ENSEMBLE_FILE, "site_statistics", "missing.safetensors", "expected a file of the study"),
        (ENSEMBLE_FILE, "prevalence", {"dark": 1.0}, "expected the prevalence of dark, bright"),
        (ENSEMBLE_FILE, "external_members", ["other"], "expected classifiers of the recipe"),
        (ENSEMBLE_FILE, "format", 1, "of format 3, got 1; run the study again"),
        (MEMBERS_FILE, "shape_members", ["../elsewhere.json"], "expected a file of the study"),
        (MEMBERS_FILE, "kind", "ensemble", "expected the members of an ensemble"),
    ],
)
def test_a_file_that_was_changed_is_refused(
    fitted: FittedEnsemble, saved: Path, study: Path, name: str, key: str, value: object, message: str
) -> None:
    text = (saved / name).read_text(encoding="utf-8")
    (study.parent / "elsewhere.json").write_text("{}", encoding="utf-8")
    (saved / name).write_text(json.dumps({**json.loads(text), key: value}), encoding="utf-8")
    external = {"given": fitted.color_members[0].classifier}
    try:
        with pytest.raises(InputError, match=message):
            (FittedEnsemble if name == ENSEMBLE_FILE else Members).load(saved, study, external)
    finally:
        (saved / name).write_text(text, encoding="utf-8")


def test_nothing_outside_of_the_study_is_saved(fitted: FittedEnsemble, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="so that the folder can be moved as a whole"):
        fitted.save(tmp_path, tmp_path)
    translated = FittedEnsemble(fitted.color_members[:1], (), {TRANSLATOR: fitted.restainings["linear-ot"]})
    with pytest.raises(InputError, match="expected the snapshot of the translator"):
        translated.save(tmp_path, tmp_path)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_translator_is_loaded_at_the_scale_of_the_ensembles_cells(
    fitted: FittedEnsemble, study: Path, small_snapshot: Path, scale: float
) -> None:
    folder = study / f"translated-{scale}"
    (folder / "translator").mkdir(parents=True)
    snapshot = Path(shutil.copy(small_snapshot, folder / "translator"))
    cells = open_model(snapshot).cell_standardizer()
    translator = cells if scale == 1.0 else RescaledStandardizer(cells, scale)
    translated = FittedEnsemble(fitted.color_members[1:], (), {TRANSLATOR: translator})
    translated.save(folder, study, snapshot)
    assert SavedEnsemble.read(folder / ENSEMBLE_FILE).translator_scale == scale
    loaded = FittedEnsemble.load(folder, study, {})
    np.testing.assert_array_equal(loaded.predict(IMAGES), translated.predict(IMAGES))
    assert loaded.prevalence is None
