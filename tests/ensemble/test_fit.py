from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.network import new_network, preprocessing_of
from hemabridge.classifiers.protocol import Classifier
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.ensemble.fit import ADABN_FOLDER, fit_ensemble
from hemabridge.ensemble.fitted import FittedEnsemble
from hemabridge.ensemble.members import Member, Members, classifiers_of
from hemabridge.ensemble.pooling import mean_prediction
from hemabridge.ensemble.ranking import CANDIDATES, MOST_RESTAININGS, UNRANKED, within_gap
from hemabridge.errors import InputError
from hemabridge.imaging.standardizer import Standardizer
from hemabridge.normalizers.by_subdomain import BySubdomain
from hemabridge.normalizers.catalog import fit_on_cells
from hemabridge.training.run_context import RunContext, start_fabric
from hemabridge.training.snapshots import write_snapshot


def fitted_to(
    config: EnsembleConfig,
    source: NDArray[np.uint8],
    target: CellSet,
    *,
    color: Sequence[Classifier],
    shape: Sequence[Classifier] = (),
    translator: Standardizer | None = None,
    seed: int = 0,
) -> FittedEnsemble:
    """Fit an ensemble of given classifiers, of which none is trained."""
    names = tuple(map(str, range(len(source))))
    cells = CellSet(source, np.full(len(source), -1), target.classes, names, names, target.crop_px)
    members = Members(tuple(map(Member, color)), tuple(map(Member, shape)))
    context = RunContext(Path("nothing is written"), start_fabric("cpu"), seed)
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


def test_the_prediction_is_the_mean_over_members_restainings_and_mirror_images() -> None:
    image = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    image[0, :2, :2] = 255  # white upper left quarter: each mirror image moves it, the transpose does not
    np.testing.assert_allclose(mean_prediction([ByBrightness()], image), [[0.5, 0.5]])
    fitted = FittedEnsemble((Member(ByBrightness()),), (), {"gray": Gray(), "inverted": Inverted()})
    np.testing.assert_allclose(fitted.predict(np.zeros((2, 4, 4, 3), np.uint8)), [[0.249, 0.751]] * 2, atol=1e-3)
    assert fitted.restained(image).shape == (2, 1, 4, 4, 3)
    assert fitted.classes == ("dark", "bright")


def test_shape_members_see_original_images_and_each_member_has_the_same_weight() -> None:
    black = np.zeros((1, 4, 4, 3), np.uint8)
    fitted = FittedEnsemble(
        (Member(ByBrightness()), Member(ByBrightness())), (Member(ByBrightness()),), {"inverted": Inverted()}
    )
    # Two classifiers see white and are sure of class 1, one sees black and is sure of class 0. By hand, with the least
    # probability 1/1000: class 0 gets 1000^(-2/3) = 1/100, class 1 gets 1000^(-1/3) = 1/10.
    np.testing.assert_allclose(fitted.predict(black), [[1 / 11, 10 / 11]], rtol=1e-5)
    np.testing.assert_allclose(fitted.predict_target(black), [[1000 / 1001, 1 / 1001]], rtol=1e-5)  # here all see black
    target, source = cells(9, 9), cells(20, 20, seed=1)
    config = EnsembleConfig(restainings=("white-point",))
    found = fitted_to(config, source.images, target, color=[ByBrightness()], shape=[ByBrightness()], seed=0)
    assert classifiers_of(found.shape_members) == (ByBrightness(),)
    assert found.class_prior is not None
    with pytest.raises(InputError, match="all members of the same classes"):
        fitted_to(
            config, source.images, target, color=[ByBrightness()], shape=[ByBrightness(classes=("a", "b"))], seed=0
        )


def test_a_class_that_one_group_all_but_rules_out_is_not_predicted() -> None:
    fitted = FittedEnsemble((Member(ByBrightness()),), (Member(ByBrightness()),), {})
    color = np.array([[0.55, 0.44, 0.01]], np.float32)
    shape = np.array([[0.01, 0.44, 0.55]], np.float32)
    found = fitted.pooled([color, color], shape)
    assert found.argmax() == 1
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(fitted.pooled([color], None), color)


@dataclass(frozen=True)
class Unsure(ByBrightness):
    """Never gives a class more than 0.75."""

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.float32(0.25) + super().probabilities(images) / np.float32(2)


@pytest.mark.parametrize(("max_confidence_gap", "kept"), [(0.05, False), (0.5, True), (None, True)])
def test_shape_members_of_much_lower_confidence_are_left_out(max_confidence_gap: float | None, *, kept: bool) -> None:
    target, source = cells(9, 9), cells(20, 20, seed=1)
    config = EnsembleConfig(restainings=("reinhard-site",), max_confidence_gap=max_confidence_gap)
    found = fitted_to(config, source.images, target, color=[ByBrightness()], shape=[Unsure()], seed=0)
    assert bool(found.shape_members) is kept


@dataclass(frozen=True)
class Reversed(ByBrightness):
    """Takes bright for dark, until AdaBN."""

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return super().probabilities(images)[:, ::-1]


class UnsureReversed(Unsure):
    """Also takes bright for dark."""

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return super().probabilities(images)[:, ::-1]


@pytest.mark.parametrize(
    ("shape", "adapted", "min_gain", "used"),
    [
        (Reversed(), ByBrightness(), 0.05, True),
        (Reversed(), ByBrightness(), None, False),
        (Reversed(), None, 0.0, False),  # it has no batch norm
        (ByBrightness(), Reversed(), 0.0, False),
        (ByBrightness(), Unsure(), 0.0, False),  # names the same
    ],
)
def test_adabn_is_used_where_shape_members_then_agree_more_with_color_members(
    monkeypatch: pytest.MonkeyPatch,
    shape: ByBrightness,
    adapted: ByBrightness | None,
    min_gain: float | None,
    *,
    used: bool,
) -> None:
    shown: list[NDArray[np.uint8]] = []

    def measure(classifier: ByBrightness, images: NDArray[np.uint8]) -> ByBrightness | None:
        assert classifier is shape
        shown.append(images)
        return adapted

    monkeypatch.setattr("hemabridge.ensemble.ranking.adabn", measure)
    target, source = cells(9, 9), cells(30, 10, seed=1)
    config = EnsembleConfig(restainings=("reinhard-site",), adabn_min_gain=min_gain, max_confidence_gap=None)
    found = fitted_to(config, source.images, target, color=[ByBrightness()], shape=[shape], seed=0)
    assert found.adabn is used
    assert classifiers_of(found.shape_members) == ((adapted if used else shape),)
    if not isinstance(shape, Reversed):  # a quarter of the source is bright; so are more of the cells that are drawn
        assert 0.3 < np.mean(shown[0].mean(axis=(1, 2, 3)) > 120) < 0.6


def test_no_adabn_for_shape_members_of_much_lower_confidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """On blurred images AdaBN makes them agree more, and yet too little: they are left out."""
    monkeypatch.setattr("hemabridge.ensemble.ranking.adabn", lambda *_: ByBrightness())
    target, source = cells(9, 9), cells(20, 20, seed=1)
    config = EnsembleConfig(restainings=("reinhard-site",), adabn_min_gain=0.0, max_confidence_gap=0.05)
    found = fitted_to(config, source.images, target, color=[ByBrightness()], shape=[UnsureReversed()], seed=0)
    assert found.shape_members == ()
    assert not found.adabn
    everyone = config.model_copy(update={"max_confidence_gap": None})
    assert fitted_to(everyone, source.images, target, color=[ByBrightness()], shape=[UnsureReversed()], seed=0).adabn


@pytest.mark.parametrize(("min_gain", "used"), [(-1.0, True), (None, False)])
def test_the_weights_after_adabn_are_kept_as_a_snapshot(tmp_path: Path, min_gain: float | None, used: bool) -> None:
    config = ClassifierConfig(architecture="test_resnet", size_px=32)
    raw = {key.replace(".", "/", 1): value for key, value in new_network("test_resnet", 32, 2).state_dict().items()}
    about = {
        "kind": "classifier",
        "config": config.model_dump(mode="json"),
        "preprocessing": preprocessing_of(config).model_dump(mode="json"),
        "classes": ["dark", "bright"],
    }
    snapshot = write_snapshot(tmp_path / "shape", 8, 1.0, raw, None, about).path
    target, source = cells(9, 9), cells(20, 20, seed=1)
    members = Members((Member(ByBrightness()),), (Member.from_snapshot(snapshot, target),))
    spec = EnsembleConfig(restainings=("white-point",), adabn_min_gain=min_gain, max_confidence_gap=None)
    fitted = fit_ensemble(members, source, target, spec, RunContext(tmp_path, start_fabric("cpu"), 0))
    assert fitted.adabn is used
    (member,) = fitted.shape_members
    assert member.snapshot == (tmp_path / ADABN_FOLDER / "0.safetensors" if used else snapshot)
    (read,) = classifiers_of([Member.from_snapshot(member.snapshot)])
    np.testing.assert_array_equal(read.probabilities(source.images), member.classifier.probabilities(source.images))
    before = members.shape[0].classifier.probabilities(source.images)
    assert (np.abs(read.probabilities(source.images) - before).max() > 1e-3) is np.bool_(used)


def test_a_restaining_of_low_confidence_takes_no_part_without_shape_members() -> None:
    target, source = cells(9, 9), cells(20, 20, seed=1)
    config = EnsembleConfig(restainings=("white-point",), max_confidence_gap=0.1, prior_rounds=0)
    fitted = fitted_to(config, source.images, target, color=[ByBrightness()], translator=Gray(), seed=0)
    assert list(fitted.restainings) == ["white-point"]
    assert fitted.confidence["translator"] == pytest.approx(0.502, abs=1e-3)
    assert fitted.confidence["white-point"] > 0.6
    everyone = config.model_copy(update={"max_confidence_gap": None})
    both = fitted_to(everyone, source.images, target, color=[ByBrightness()], translator=Gray(), seed=0)
    assert list(both.restainings) == ["white-point", "translator"]


def test_within_gap_keeps_the_order_and_those_within_the_gap() -> None:
    assert within_gap({"a": 0.7, "b": 0.9, "c": 0.88}, 0.03) == ("b", "c")
    assert within_gap({"a": 0.7, "b": 0.9}, None) == ("a", "b")
    assert within_gap({"a": 0.7, "b": 0.9, "c": 0.88}, None, 2) == ("b", "c")
    assert within_gap({"a": 0.7}, 0.1, 4) == ("a",)


def test_restainings_that_agree_with_the_shape_members_take_part_whatever_the_confidence() -> None:
    target, source = cells(9, 9), cells(20, 20, seed=1)
    config = EnsembleConfig(restainings=("white-point",), prior_rounds=0)
    judged = fitted_to(
        config, source.images, target, color=[ByBrightness()], translator=Inverted(), shape=[ByBrightness()], seed=0
    )
    assert list(judged.restainings) == ["white-point"]
    assert judged.soft_agreement["translator"] < 0.5 < judged.soft_agreement["white-point"]
    assert list(judged.confidence) == ["white-point"]
    alone = fitted_to(config, source.images, target, color=[ByBrightness()], translator=Inverted(), seed=0)
    assert "translator" in alone.restainings
    assert alone.soft_agreement == {}
    everyone = config.model_copy(update={"max_agreement_gap": None})
    both = fitted_to(
        everyone, source.images, target, color=[ByBrightness()], translator=Inverted(), shape=[ByBrightness()], seed=0
    )
    assert list(both.restainings) == ["white-point", "translator"]


def test_more_restainings_are_tried_where_shape_members_rank_them() -> None:
    target, source = cells(9, 9), cells(12, 12, seed=1)
    config = EnsembleConfig(prior_rounds=0)
    judged = fitted_to(config, source.images, target, color=[ByBrightness()], shape=[ByBrightness()], seed=0)
    assert tuple(judged.soft_agreement) == CANDIDATES
    everyone = fitted_to(
        config.model_copy(update={"max_agreement_gap": None}),
        source.images,
        target,
        color=[ByBrightness()],
        shape=[ByBrightness()],
        seed=0,
    )
    best = sorted(everyone.soft_agreement, key=everyone.soft_agreement.__getitem__, reverse=True)[:MOST_RESTAININGS]
    assert set(everyone.restainings) == set(best)
    alone = fitted_to(config, source.images, target, color=[ByBrightness()], seed=0)
    assert tuple(alone.confidence) == UNRANKED


@dataclass(frozen=True)
class ByCenter(ByBrightness):
    """The probability of class 1 is the brightness of an image's center."""

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        bright = images[:, 6:10, 6:10].mean(axis=(1, 2, 3)) / 255.0
        return np.stack([1.0 - bright, bright], axis=1).astype(np.float32)


def smears(glass: tuple[int, int, int], dark: int, bright: int, seed: int = 0) -> CellSet:
    """Return dark and bright cells on glass of one color."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [dark, bright])
    images = np.ones((dark + bright, 16, 16, 3)) * np.array(glass)
    images[:, 5:11, 5:11] *= np.where(labels, 0.8, 0.2)[:, None, None, None]
    names = tuple(map(str, range(dark + bright)))
    noisy = np.clip(images + rng.normal(0, 3, images.shape), 0, 255).astype(np.uint8)
    return CellSet(noisy, labels, ("dark", "bright"), names, names, 16)


TARGET = smears((225, 215, 210), 9, 9)
WHITE, YELLOW = smears((250, 250, 250), 20, 20, seed=1).images, smears((250, 240, 130), 30, 20, seed=2).images


def test_each_subdomain_of_a_source_has_restainings_of_its_own() -> None:
    source = np.concatenate([WHITE, YELLOW])
    config = EnsembleConfig(restainings=("white-point", "linear-ot"), max_agreement_gap=None, prior_rounds=1)
    found = fitted_to(config, source, TARGET, color=[ByCenter()], shape=[ByCenter()], seed=0)
    assert len(found.subdomains) == 2
    assert all(set(names) == {"white-point", "linear-ot"} for names in found.subdomains.values())
    assert set(found.soft_agreement) == {
        f"{name} on {subdomain}" for name in config.restainings or () for subdomain in found.subdomains
    }
    for restaining in found.restainings.values():
        assert isinstance(restaining, BySubdomain)
        fields = np.median(restaining.standardize(source)[:, :4], axis=(1, 2))
        np.testing.assert_allclose(fields, np.broadcast_to((225, 215, 210), fields.shape), atol=8)
    one = fitted_to(
        config.model_copy(update={"subdomains": 1}), source, TARGET, color=[ByCenter()], shape=[ByCenter()], seed=0
    )
    assert one.subdomains == {}
    assert set(one.soft_agreement) == {"white-point", "linear-ot"}


def test_a_subdomain_with_fewer_restainings_uses_its_best_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def soft_agreement(shape: NDArray[np.float32], answer: NDArray[np.float32]) -> float:
        tried.append(len(shape))
        return {40: (0.2, 0.9), 50: (0.7, 0.7)}[len(shape)][tried.count(len(shape)) - 1]

    tried: list[int] = []
    monkeypatch.setattr("hemabridge.ensemble.ranking.soft_agreement", soft_agreement)
    config = EnsembleConfig(restainings=("white-point", "linear-ot"), prior_rounds=0)
    found = fitted_to(config, np.concatenate([WHITE, YELLOW]), TARGET, color=[ByCenter()], shape=[ByCenter()], seed=0)
    assert sorted(found.subdomains.values(), key=len) == [("linear-ot",), ("white-point", "linear-ot")]
    assert list(found.restainings) == ["white-point", "linear-ot"]
    methods = [
        sorted(own.method for own in each.normalizers)
        for each in found.restainings.values()
        if isinstance(each, BySubdomain)
    ]
    assert methods == [["linear-ot", "white-point"], ["linear-ot", "linear-ot"]]


def test_clusters_that_show_other_classes_are_no_subdomains() -> None:
    source = cells(40, 40, seed=1).images  # cells fill the image, so that their own color seems to be the field's
    found = fitted_to(EnsembleConfig(), source, cells(9, 9), color=[ByBrightness()], shape=[ByBrightness()], seed=0)
    assert found.subdomains == {}
    assert set(found.soft_agreement) == set(CANDIDATES)


def test_without_shape_members_or_with_a_translator_there_is_one_subdomain() -> None:
    source = np.concatenate([WHITE, YELLOW])
    config = EnsembleConfig(restainings=("white-point",))
    assert fitted_to(config, source, TARGET, color=[ByCenter()], seed=0).subdomains == {}
    assert (
        fitted_to(config, source, TARGET, color=[ByCenter()], translator=Gray(), shape=[ByCenter()], seed=0).subdomains
        == {}
    )


def test_drawing_the_target_with_the_sources_class_prior_keeps_rare_classes_rare() -> None:
    # Both sites look alike, so the right re-staining changes nothing; matching to equal shares brightens dark cells.
    target, source = cells(9, 9), cells(45, 5, seed=1)
    balanced = fit_on_cells("histogram", source.images, target.images).standardize(source.images)
    config = EnsembleConfig(restainings=("histogram",), prior_rounds=3)
    fitted = fitted_to(config, source.images, target, color=[ByBrightness()], seed=0)
    assert fitted.class_prior is not None
    assert fitted.class_prior[0] > 0.6
    change, naive = (
        np.abs(restained.astype(int) - source.images).mean()
        for restained in (fitted.restained(source.images)[0], balanced)
    )
    assert change < 0.7 * naive


def test_the_same_seed_gives_the_same_predictions() -> None:
    target, source = cells(9, 9), cells(20, 10, seed=1)
    config = EnsembleConfig(restainings=("linear-ot", "histogram"))
    first, again = (
        fitted_to(config, source.images, target, color=[ByBrightness()], seed=3).predict(source.images)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)


def test_classifiers_of_other_classes_and_unknown_names_are_refused() -> None:
    target = cells(4, 4)
    with pytest.raises(InputError, match="all members of the same classes"):
        fitted_to(EnsembleConfig(), target.images, target, color=[ByBrightness(), ByBrightness(classes=("a", "b"))])
    with pytest.raises(ValidationError, match="expected different normalizers of"):
        EnsembleConfig(restainings=("linear-oat",))
