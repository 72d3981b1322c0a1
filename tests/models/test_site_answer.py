import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hemabridge.data.cells import CellSet
from hemabridge.data.index import index_folder
from hemabridge.data.manifest import write_manifest
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.domain.site_profile import FEWEST_CELLS, Distance, SiteProfile
from hemabridge.errors import InputError, ModelError
from hemabridge.imaging.files import write_image
from hemabridge.imaging.found_scale import FoundScale
from hemabridge.imaging.reader import FILES
from hemabridge.imaging.standardizer import UInt8Image, UInt8Images
from hemabridge.models import open_model
from hemabridge.models.site_answer import ANSWER_FILE, SiteAnswer, answer_for
from hemabridge.networks.config import PixelNetworkConfig
from hemabridge.normalizers import fit_on_cells
from hemabridge.normalizers.images import fit_normalizer
from hemabridge.training.run_context import start_fabric
from hemabridge.training.tensorfile import read_tensors, write_tensors
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.objective_config import CycleGanConfig
from hemabridge.translators.train import train_translator
from hemabridge.workflows.audit import audit_manifest
from hemabridge.workflows.standardize.standardize import standardize

KINDS = "neutrophil", "lymphocyte"


@cache
def cells(hospital: str, seed: int, per_class: int = 12) -> UInt8Images:
    return simulate_cells(KINDS, per_class, HOSPITALS[hospital], seed, 64)[0]


def cell_set(hospital: str, seed: int) -> CellSet:
    images = cells(hospital, seed)
    names = tuple(f"{hospital}{number}" for number in range(len(images)))
    return CellSet(images, np.full(len(images), -1), (), names, names, 64)


class CountedFiles:
    """Reads files, and lists those that were read."""

    def __init__(self) -> None:
        self.seen: list[Path] = []

    def read(self, path: Path) -> UInt8Image:
        self.seen.append(path)
        return FILES.read(path)

    def scale(self, path: Path) -> FoundScale | None:
        return FILES.scale(path)


def folder_of(images: UInt8Images, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        write_image(folder / f"{number}.png", image)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folders")
    for name in ("yellow-field", "clinic-like", "overstained"):
        folder_of(cells(name, 9, per_class=10), root / name)
    return root


@pytest.fixture(scope="module")
def normalizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("normalizer") / "white-point.json"
    path.write_text(fit_on_cells("white-point", cells("yellow-field", 1), cells("clinic-like", 2)).to_json())
    return path


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = CycleGanConfig(generator=PixelNetworkConfig(width=4), adversarial_weight=0.0, transport_weight=1.0)
    config = TranslatorConfig(
        model=model, load_px=64, crop_px=64, epoch_images=2, constant_epochs=1, decay_epochs=0, stepping="corrected"
    )
    sites = cell_set("yellow-field", 1), cell_set("clinic-like", 2)
    return train_translator(config, *sites, tmp_path_factory.mktemp("run"), start_fabric("cpu"), seed=0)[-1].path


@pytest.mark.parametrize("kind", [pytest.param("normalizer", marks=pytest.mark.slow), "snapshot"])
def test_every_kind_of_model_knows_its_site_and_no_other(
    kind: str, folders: Path, request: pytest.FixtureRequest
) -> None:
    known = open_model(request.getfixturevalue(kind))
    answers = {}
    for name in ("yellow-field", "clinic-like", "overstained"):
        found = answer_for(known, sorted((folders / name).iterdir()))
        assert found is not None
        assert found.images == 20
        answers[name] = (found.answer, found.target and found.target.answer)
    assert answers["yellow-field"] == ("in-distribution", "out-of-distribution")
    assert answers["clinic-like"] == ("out-of-distribution", "in-distribution")
    assert answers["overstained"] == ("out-of-distribution", "out-of-distribution")


def test_images_of_another_size_are_known_by_their_nuclei_or_a_stated_scale(
    normalizer: Path, snapshot: Path, folders: Path, tmp_path: Path
) -> None:
    larger = np.repeat(np.repeat(cells("yellow-field", 9, per_class=10), 2, axis=1), 2, axis=2)
    files = sorted(folder_of(larger, tmp_path / "larger").iterdir())
    of_normalizer, stated = (
        answer_for(open_model(normalizer), files),
        answer_for(open_model(snapshot, crop_px=128), files),
    )
    misled = answer_for(open_model(snapshot), files)
    assert of_normalizer is not None
    assert stated is not None
    assert misled is not None
    assert (of_normalizer.answer, stated.answer) == ("in-distribution", "in-distribution")
    assert misled.source.value > 2 * stated.source.value


def test_standardize_writes_the_answer_and_never_refuses(normalizer: Path, folders: Path, tmp_path: Path) -> None:
    done = standardize(normalizer, folders / "overstained", tmp_path / "out")
    assert done.count("restained") == 20
    assert done.site is not None
    written = json.loads((tmp_path / "out" / ANSWER_FILE).read_text(encoding="utf-8"))
    assert written["answer"] == done.site.answer == "out-of-distribution"
    assert written["source"]["value"] == pytest.approx(done.site.source.value)
    assert "do not trust" in written["text"]
    assert not any(name in json.dumps(written) for name in ("0.png", "overstained"))


def test_a_model_without_a_profile_says_nothing(small_snapshot: Path, folders: Path, tmp_path: Path) -> None:
    assert answer_for(open_model(small_snapshot), sorted((folders / "overstained").iterdir())) is None
    done = standardize(small_snapshot, folders / "overstained", tmp_path / "out")
    assert done.site is None
    assert not (tmp_path / "out" / ANSWER_FILE).exists()


def test_a_run_folder_means_its_last_snapshot(snapshot: Path) -> None:
    assert open_model(snapshot.parent.parent).profiles == open_model(snapshot).profiles


def test_profiles_hold_no_name_and_few_images_make_none(snapshot: Path, normalizer: Path) -> None:
    text = normalizer.read_text(encoding="utf-8")
    assert "yellow" not in text
    few = cells("pale", 0)[: FEWEST_CELLS - 1]
    assert fit_on_cells("white-point", few, few).sites is None
    profiles = open_model(snapshot).profiles
    assert profiles is not None
    assert (profiles.source.crop_px, profiles.source.side_px) == (64, 64)


def test_unreadable_files_are_left_out_and_nothing_readable_is_told(normalizer: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    write_image(tmp_path / "good.png", cells("yellow-field", 3)[0])
    found = answer_for(open_model(normalizer), sorted(tmp_path.iterdir()))
    assert found is not None
    assert found.images == 1
    with pytest.raises(InputError, match="expected readable images"):
        answer_for(open_model(normalizer), [tmp_path / "bad.png"])


def test_images_are_measured_once_for_all_sites_of_one_scale(folders: Path) -> None:
    sites = [SiteProfile.of(cells(name, 3), 64) for name in ("yellow-field", "clinic-like")]
    files, images = sorted((folders / "clinic-like").glob("*.png")), CountedFiles()

    def answer(*at_home: SiteProfile | None) -> float:
        model = SimpleNamespace(crop_px=None, crop_um=None, at_home=at_home, profiles=None)
        return answer_for(model, files, images=images).source.value

    assert answer(*sites) == min(answer(sites[0]), answer(sites[1]))
    assert len(images.seen) == 3 * len(files)
    answer(sites[0], SiteProfile.of(cells("clinic-like", 3), 60))
    assert len(images.seen) == 5 * len(files)


def test_a_normalizer_knows_the_scale_of_its_site_so_that_each_image_is_read_once(folders: Path) -> None:
    own, wanted = cells("yellow-field", 1), cells("clinic-like", 2)
    fitted = fit_normalizer("white-point", own, wanted, source_crop_px=60, target_crop_px=64)
    assert fitted.sites is not None
    assert (fitted.sites.source.crop_px, fitted.sites.target.crop_px) == (60, 64)
    files, images = sorted((folders / "yellow-field").glob("*.png")), CountedFiles()

    found = answer_for(
        SimpleNamespace(crop_px=None, crop_um=None, at_home=(fitted.sites.source,), profiles=None), files, images=images
    )
    assert found is not None
    assert found.answer == "in-distribution"
    assert sorted(images.seen) == files


def test_a_damaged_profile_is_refused(snapshot: Path, tmp_path: Path) -> None:
    tensors, header = read_tensors(snapshot)
    header["sites"]["source"]["cells"] = [["x"]]
    write_tensors(tmp_path / "broken.safetensors", tensors, header)
    with pytest.raises(ModelError, match=r"whole snapshot of a translator, .*in sites\.source\.cells"):
        open_model(tmp_path / "broken.safetensors")


def test_an_audit_says_of_each_site_whether_the_model_knows_it(
    normalizer: Path, small_snapshot: Path, folders: Path, tmp_path: Path
) -> None:
    found = index_folder(folders / "overstained", "new")
    write_manifest(found.manifest, tmp_path / "manifest.csv")
    audited = audit_manifest(tmp_path / "manifest.csv", root=folders / "overstained", model=normalizer)
    assert [f.severity for f in audited.findings if "new to the model: out-of-distribution" in f.text] == ["warning"]
    silent = audit_manifest(tmp_path / "manifest.csv", root=folders / "overstained", model=small_snapshot)
    assert any("holds no site profile" in f.text for f in silent.findings)


def test_few_images_at_the_edge_are_said_to_be_perhaps_of_one_smear() -> None:
    edge = Distance(2.0, 1.5, 3.0)
    assert "all of one or two smears" in SiteAnswer(22, edge, None).text
    assert "smears" not in SiteAnswer(60, edge, None).text
    assert "smears" not in SiteAnswer(22, Distance(1.0, 1.5, 3.0), None).text
    assert "smears" not in SiteAnswer(22, Distance(4.0, 1.5, 3.0), None).text


def test_few_images_that_many_like_them_would_be_refused_are_said_to_be_so() -> None:
    text = SiteAnswer(20, Distance(2.5, 1.5, 3.0, of_many="out-of-distribution"), None).text
    assert "borderline: all images together are at the edge" in text
    assert "60 or more images at this distance would be out-of-distribution: give all images of the hospital" in text
    assert "would be" not in SiteAnswer(60, Distance(2.0, 1.5, 3.0, of_many="borderline"), None).text
    assert "would be" not in SiteAnswer(20, Distance(4.0, 1.5, 3.0, of_many="out-of-distribution"), None).text
    assert SiteAnswer(20, Distance(1.0, 1.5, 3.0, of_many="in-distribution"), None).of_few == ""


def test_a_handful_of_images_is_said_to_show_hardly_an_unknown_hospital() -> None:
    one = SiteAnswer(1, Distance(1.0, 3.7, 8.2, of_many="in-distribution"), None).text
    assert one.startswith("in-distribution: the image is like what the model was trained on; so few can hardly show")
    assert "distance 1.00 over 1 image;" in one


def test_the_answer_for_many_images_is_by_the_limits_of_sixty() -> None:
    profile = SiteProfile.of(cells("yellow-field", 1), 64)
    assert profile is not None
    others = np.array(profile.cells, np.float64)[:5] + 0.5 * np.array([1.0, 2.0] * 12)
    found, of_many = profile.distance(others), profile.usual(60)
    limits = float(np.quantile(of_many, 0.95)), 1.75 * float(np.quantile(of_many, 0.99))
    assert found.of_many == Distance(found.value, *limits).answer
    assert limits[1] < found.borderline_max
