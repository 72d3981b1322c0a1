import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from hemabridge.classifiers.adabn import statistics_of
from hemabridge.classifiers.classifier import NetworkClassifier
from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.network import new_network, preprocessing_of
from hemabridge.classifiers.protocol import Classifier
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.ensemble.fit_ensemble import agreement_weight, balanced_draw, fit_ensemble
from hemabridge.ensemble.fitted import ORIGINAL, TRANSLATOR, FittedEnsemble
from hemabridge.ensemble.members import Member, Members, classifiers_of
from hemabridge.ensemble.pooling import logarithmic_pool, mean_prediction
from hemabridge.ensemble.site_statistics import SiteStatistics
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import Standardizer
from hemabridge.progress import Progress, silent
from hemabridge.training.run_context import RunContext, start_fabric

ROOT = Path(__file__).resolve().parents[2]


def fitted_to(
    config: EnsembleConfig,
    source: NDArray[np.uint8],
    target: CellSet,
    *,
    color: Sequence[Classifier],
    shape: Sequence[Classifier] = (),
    translator: Standardizer | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> FittedEnsemble:
    """Fit an ensemble of given classifiers, of which none is trained."""
    names = tuple(map(str, range(len(source))))
    cells = CellSet(source, np.full(len(source), -1), target.classes, names, names, target.crop_px)
    members = Members(tuple(map(Member, color)), tuple(map(Member, shape)))
    context = RunContext(Path("nothing is written"), start_fabric("cpu"), seed, progress)
    return fit_ensemble(members, cells, target, config, context, translator=translator)


@dataclass(frozen=True)
class ByBrightness:
    """The probability of class 1 is the mean of an image's upper left quarter."""

    name: str = "by brightness"
    classes: tuple[str, ...] = ("dark", "bright")

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        half = images.shape[1] // 2
        bright = images[:, :half, :half].mean(axis=(1, 2, 3)) / 255.0
        return np.stack([1.0 - bright, bright], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Inverted:
    def standardize(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return 255 - images


@dataclass(frozen=True)
class Gray:
    """Makes any image one of which no class is likely."""

    def standardize(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.full_like(images, 128)


def cells(dark: int, bright: int, seed: int = 0) -> CellSet:
    """Return dark and bright squares; a target of fewer than 20 has no profile, which takes most of a fit's time."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [dark, bright])
    images = rng.integers(0, 60, (dark + bright, 8, 8, 3)) + 180 * labels[:, None, None, None]
    names = tuple(map(str, range(dark + bright)))
    return CellSet(images.astype(np.uint8), labels, ("dark", "bright"), names, names, 8)


def network(seed: int, view: str = "color") -> NetworkClassifier:
    """A small network with batch norm and random weights."""
    torch.manual_seed(seed)
    config = ClassifierConfig.model_validate({"architecture": "test_resnet", "size_px": 32, "view": view})
    return NetworkClassifier(new_network("test_resnet", 32, 2), preprocessing_of(config), ("dark", "bright"), str(seed))


def test_progress_counts_to_totals_that_are_known_from_the_start() -> None:
    told: list[tuple[str, int, int]] = []
    config = EnsembleConfig(restainings=("white-point", "linear-ot"), adabn_rounds=2)
    target, source = cells(6, 6), cells(5, 5, seed=1).images
    fitted = fitted_to(
        config, source, target, color=[network(1)], shape=[network(2, "shape")], progress=lambda *a: told.append(a)
    )
    fitted.group_predictions(source, lambda *a: told.append(a))
    assert fitted.passes == 2 + len(fitted.restainings)
    totals = {
        "fitting re-stainings": 2,
        "batch norm statistics of the source, passes": 5 * fitted.passes,
        "classifying, passes": 2 * fitted.passes,
    }
    assert told == [(label, done, total) for label, total in totals.items() for done in range(total + 1)]


def test_color_members_predict_from_originals_and_restainings_and_mirror_images() -> None:
    image = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    image[0, :2, :2] = 255  # white upper left quarter: each mirror image moves it, the transpose does not
    np.testing.assert_allclose(mean_prediction([ByBrightness()], image), [[0.5, 0.5]])
    fitted = FittedEnsemble((Member(ByBrightness()),), (), {"gray": Gray(), "inverted": Inverted()})
    # Black as it is, gray 128 of 255, white: the mean of 0, 0.502 and 1.
    np.testing.assert_allclose(fitted.predict(np.zeros((2, 4, 4, 3), np.uint8)), [[0.499, 0.501]] * 2, atol=1e-3)
    assert [name for name, _ in fitted.inputs(image)] == [ORIGINAL, "gray", "inverted"]
    assert fitted.classes == ("dark", "bright")


def test_shape_members_predict_from_originals_and_each_member_has_the_same_weight() -> None:
    black = np.zeros((1, 4, 4, 3), np.uint8)
    white = Member(Constant(1.0))
    fitted = FittedEnsemble((white, white), (Member(ByBrightness()),), {})
    # Two classifiers are sure of class 1, one of class 0. By hand, with the least probability 1/1000: class 0 gets
    # 1000^(-2/3) = 1/100, class 1 gets 1000^(-1/3) = 1/10.
    np.testing.assert_allclose(fitted.predict(black), [[1 / 11, 10 / 11]], rtol=1e-5)


@dataclass(frozen=True)
class Constant:
    """Gives class 1 the same probability whatever it is shown."""

    bright: float
    name: str = "constant"
    classes: tuple[str, ...] = ("dark", "bright")

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(np.array([[1 - self.bright, self.bright]], np.float32), (len(images), 1))


def test_predictions_with_the_statistics_of_both_sites_are_averaged_by_their_weight() -> None:
    own, site = Member(Constant(0.2)), Constant(0.8)
    shape, site_shape = Member(Constant(0.4)), Constant(0.6)
    statistics = SiteStatistics({ORIGINAL: [site], "gray": [site]}, [site_shape], weight=0.75)
    fitted = FittedEnsemble((own,), (shape,), {"gray": Gray()}, statistics)
    images = np.zeros((1, 4, 4, 3), np.uint8)
    color, outline = np.array([[0.35, 0.65]], np.float32), np.array([[0.45, 0.55]], np.float32)
    np.testing.assert_allclose(fitted.predict(images), logarithmic_pool(color, outline, 0.5), rtol=1e-5)
    home = logarithmic_pool(np.array([[0.8, 0.2]], np.float32), np.array([[0.6, 0.4]], np.float32), 0.5)
    np.testing.assert_allclose(fitted.predict_target(images), home, rtol=1e-5)


def test_the_weight_of_a_site_grows_with_the_agreement_of_color_and_shape() -> None:
    sure, unsure = np.array([[0.9, 0.1], [0.1, 0.9]], np.float32), np.full((2, 2), 0.5, np.float32)
    assert agreement_weight((sure, sure), (sure, sure)) == 0.5
    # Agreement 0.82 against 0.5, to the power of 4.
    assert agreement_weight((unsure, sure), (sure, sure)) == pytest.approx(0.82**4 / (0.82**4 + 0.5**4))
    assert agreement_weight((sure, sure), (unsure, sure)) < 0.15
    assert agreement_weight((sure, None), (unsure, None)) == 0.5


def test_draws_hold_each_predicted_class_equally_often() -> None:
    prediction = np.tile(np.array([[0.95, 0.05]], np.float32), (100, 1))
    prediction[:5] = [0.05, 0.95]
    rows = balanced_draw(prediction, np.random.default_rng(0), each=400)
    assert rows.shape == (800,)
    assert np.mean(rows[:400] >= 5) > 0.99
    # By hand: five rows of weight 0.95^2 and 95 of weight 0.05^2 are drawn.
    share = 5 * 0.95**2 / (5 * 0.95**2 + 95 * 0.05**2)
    assert np.mean(rows[400:] < 5) == pytest.approx(share, abs=0.05)
    nobody = balanced_draw(np.array([[1.0, 0.0], [1.0, 0.0]], np.float32), np.random.default_rng(0), each=3)
    assert len(nobody) == 6


def test_members_get_statistics_of_balanced_draws_of_each_image_and_others_stay() -> None:
    target, source = cells(9, 9), cells(30, 6, seed=1)
    color, shape, given = network(0), network(1, "shape"), ByBrightness()
    config = EnsembleConfig(restainings=("linear-ot",))
    fitted = fitted_to(config, source.images, target, color=[given, color], shape=[shape])
    statistics = fitted.site_statistics
    assert statistics is not None
    assert set(statistics.color) == {ORIGINAL, "linear-ot"}
    assert all(members[0] is given for members in statistics.color.values())
    for adapted in (statistics.color[ORIGINAL][1], statistics.color["linear-ot"][1], statistics.shape[0]):
        own = color if adapted is not statistics.shape[0] else shape
        before, after = statistics_of(own), statistics_of(adapted)
        assert any(not torch.equal(before[name], after[name]) for name in before)
    one, other = (statistics_of(statistics.color[name][1]) for name in (ORIGINAL, "linear-ot"))
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert fitted.prevalence is not None
    np.testing.assert_allclose(fitted.prevalence.sum(), 1, rtol=1e-5)
    assert classifiers_of(fitted.color_members) == (given, color)  # they keep the statistics of the target


def test_without_rounds_the_targets_statistics_alone_are_used() -> None:
    target, source = cells(9, 9), cells(12, 12, seed=1)
    config = EnsembleConfig(restainings=("linear-ot",), adabn_rounds=0)
    fitted = fitted_to(config, source.images, target, color=[network(0)], shape=[network(1, "shape")])
    assert fitted.site_statistics is None


def test_a_translator_is_one_more_restaining_and_nothing_is_ranked() -> None:
    target, source = cells(9, 9), cells(20, 20, seed=1)
    config = EnsembleConfig(restainings=("white-point",))
    fitted = fitted_to(
        config, source.images, target, color=[ByBrightness()], shape=[ByBrightness()], translator=Inverted()
    )
    assert list(fitted.restainings) == ["white-point", TRANSLATOR]


def test_an_implausible_normalizer_is_left_out_with_its_fault() -> None:
    target, source = cells(30, 30), cells(30, 30, seed=1)
    swapped = 255 - source.images  # dark cells become bright: no color map that keeps the order fits
    fitted = fitted_to(EnsembleConfig(), swapped, target, color=[ByBrightness()])
    assert set(fitted.restainings) | set(fitted.left_out) == {"macenko", "vahadane", "linear-ot", "sliced-ot"}
    assert not set(fitted.restainings) & set(fitted.left_out)


def test_the_same_seed_gives_the_same_predictions() -> None:
    target, source = cells(9, 9), cells(20, 10, seed=1)
    config = EnsembleConfig(restainings=("linear-ot",))
    first, again = (
        fitted_to(config, source.images, target, color=[network(0)], shape=[network(1)], seed=3).predict(source.images)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)


def test_classifiers_of_other_classes_and_unknown_names_are_refused() -> None:
    target = cells(4, 4)
    with pytest.raises(InputError, match="all members of the same classes"):
        fitted_to(EnsembleConfig(), target.images, target, color=[ByBrightness(), ByBrightness(classes=("a", "b"))])
    with pytest.raises(InputError, match="got 0 color members"):
        fitted_to(EnsembleConfig(), target.images, target, color=[], shape=[ByBrightness()])
    with pytest.raises(ValidationError, match="expected different normalizers of"):
        EnsembleConfig(restainings=("linear-oat",))


def test_nothing_else_pools_members_or_measures_their_statistics() -> None:
    """Study, `adapt`, `label`, `evaluate --fit` and benchmarks fit an ensemble and ask it, and do nothing by hand."""
    parts = re.compile(
        r"\b(?:logarithmic_pool|SiteStatistics|site_statistics)\(|import [^\n]*\b(?:logarithmic_pool|SiteStatistics)\b"
    )
    files = [path for place in ("src/hemabridge", "benchmarks", "examples") for path in (ROOT / place).rglob("*.py")]
    assert len(files) > 300
    with_parts = {path.parent.name for path in files if parts.search(path.read_text(encoding="utf-8"))}
    assert with_parts == {"ensemble"}
    fitting = {
        path.relative_to(ROOT).as_posix() for path in files if "fit_ensemble(" in path.read_text(encoding="utf-8")
    }
    assert {
        "benchmarks/recommended_bench.py",
        "src/hemabridge/workflows/study/ensemble_stage.py",
        "src/hemabridge/workflows/evaluate/finished_study.py",
        "src/hemabridge/workflows/adapt/adapt.py",
    } <= fitting
