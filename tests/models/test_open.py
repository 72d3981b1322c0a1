from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hemabridge.data.cells import CellSet
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import InputError, MissingExtraError, ModelError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.models import open_model
from hemabridge.models.open import APPEARANCE_IMAGES, OpenModels, open_translator, read_cells
from hemabridge.models.restaining import TranslatorModel
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.training.run_context import start_fabric
from hemabridge.translators.objective_config import TargetOnlyConfig
from hemabridge.translators.presets import PRESETS
from hemabridge.translators.train import train_translator
from hemabridge.workflows.standardize.standardize import standardize


@pytest.fixture
def images(tmp_path: Path) -> Path:
    cells, _ = simulate_cells(("neutrophil", "lymphocyte"), 2, HOSPITALS["pale"], 0, 32)
    for number, cell in enumerate(cells):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_image(tmp_path / "in" / f"{number}.png", cell)
    return tmp_path / "in"


@pytest.fixture(scope="module")
def small_target_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target-only model of a few steps, trained on cells of 32 px."""
    model = TargetOnlyConfig(hospitals=40, hospital_images=4, step_hospitals=32, pixels=32, tuner_width=32)
    sizes = {"load_px": 32, "crop_px": 32, "epoch_images": 2, "snapshot_every_epochs": 25}
    config = PRESETS["target-only"].config.model_copy(update={"model": model, **sizes})
    sites = []
    for name in ("pale", "clinic-like"):
        cells, labels = simulate_cells(("neutrophil", "lymphocyte"), 4, HOSPITALS[name], 3, 32)
        ids = tuple(f"{name}-{number}" for number in range(len(cells)))
        sites.append(CellSet(cells, labels, ("neutrophil", "lymphocyte"), ids, ids, 32))
    folder = tmp_path_factory.mktemp("run")
    return train_translator(config, *sites, folder, start_fabric("cpu"), seed=0)[-1].path


@pytest.fixture
def normalizer(images: Path, tmp_path: Path) -> Path:
    target, _ = simulate_cells(("neutrophil", "lymphocyte"), 2, HOSPITALS["clinic-like"], 1, 32)
    source = np.stack([read_image(path) for path in sorted(images.iterdir())])
    path = tmp_path / "linear-ot.json"
    path.write_text(fit_on_cells("linear-ot", source, target).to_json(), encoding="utf-8")
    return path


def test_a_sites_appearance_is_read_from_all_of_a_folder_not_from_its_first_files(
    small_snapshot: Path, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    for number in range(2 * APPEARANCE_IMAGES - 1):
        write_image(tmp_path / "site" / f"{number:03d}.png", np.full((8, 8, 3), number, np.uint8))
    model = open_model(small_snapshot, crop_px=8)
    assert isinstance(model, TranslatorModel)
    read = read_cells(model, sorted((tmp_path / "site").iterdir()))[:, 0, 0, 0].astype(int)
    assert len(read) == APPEARANCE_IMAGES
    assert np.diff(read, prepend=-1, append=2 * APPEARANCE_IMAGES - 1).max() == 2


def test_a_normalizers_file_restains_a_folder(images: Path, normalizer: Path, tmp_path: Path) -> None:
    done = standardize(normalizer, images, tmp_path / "out")
    assert [row.status for row in done.rows] == ["restained"] * 4
    before = np.stack([read_image(path) for path in sorted(images.iterdir())])
    after = np.stack([read_image(path) for path in sorted((tmp_path / "out").glob("*.png"))])
    target, _ = simulate_cells(("neutrophil", "lymphocyte"), 2, HOSPITALS["clinic-like"], 1, 32)
    expected = fit_on_cells("linear-ot", before, target).standardize(before)
    np.testing.assert_array_equal(after, expected)


def test_a_normalizer_has_no_site_to_look_at(images: Path, normalizer: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="which uses a site's appearance, got a normalizer"):
        standardize(normalizer, images, tmp_path / "out", site=images)
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_normalizer_is_no_translator(normalizer: Path) -> None:
    with pytest.raises(ModelError, match="expected the snapshot of a translator, got a normalizer"):
        open_translator(normalizer)


def test_models_are_kept_open_as_far_as_they_fit_in_memory(normalizer: Path, tmp_path: Path, reads: Any) -> None:
    files = [tmp_path / f"{name}.json" for name in "abc"]
    for file in files:
        file.write_bytes(normalizer.read_bytes())
    size = normalizer.stat().st_size
    for most, times in ((None, [1, 1, 1]), (2 * size, [1, 2, 1]), (1, [3, 2, 1])):
        opened = OpenModels(most)
        with reads("open models"):
            models = [opened(files[place]) for place in (0, 1, 0, 2, 0, 1)]
        assert [model.path for model in models] == [files[place] for place in (0, 1, 0, 2, 0, 1)]
        assert [reads.opened["open models"][file] for file in files] == times


def test_a_damaged_file_is_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"method": "linear-ot"}', encoding="utf-8")
    with pytest.raises(ModelError, match="LinearTransport"):
        standardize(tmp_path / "bad.json", images, tmp_path / "out")


def test_a_site_without_images_is_refused(small_target_only: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="readable images to measure a site's appearance"):
        standardize(small_target_only, images, tmp_path / "out", site=tmp_path / "empty")


def test_a_target_only_model_restains_by_the_appearance_of_the_folder_that_it_is_shown(
    small_target_only: Path, images: Path, tmp_path: Path
) -> None:
    other, _ = simulate_cells(("neutrophil", "lymphocyte"), 2, HOSPITALS["yellow-field"], 0, 32)
    for number, cell in enumerate(other):
        (tmp_path / "in").mkdir(exist_ok=True)
        write_image(tmp_path / "site" / f"{number}.png", cell)
    found = {}
    for name, site in (("trained", None), ("own", images), ("other", tmp_path / "site")):
        standardize(small_target_only, images, tmp_path / name, site=site)
        found[name] = read_image(tmp_path / name / "0.png").astype(int)
    assert not np.array_equal(found["own"], found["other"])
    # The same folder again, with another site: nothing that was made by the first is kept.
    again = standardize(small_target_only, images, tmp_path / "own", site=tmp_path / "site")
    assert again.count("restained") == 4
    np.testing.assert_array_equal(read_image(tmp_path / "own" / "0.png"), found["other"])


def test_a_translator_without_pytorch_says_what_to_install(
    small_target_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model(small_target_only)
    monkeypatch.setattr("hemabridge.models.restaining.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install 'hemabridge"):
        model.standardizer()
