from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from hemabridge.classifiers.adabn import adabn
from hemabridge.classifiers.config import ClassifierConfig
from hemabridge.classifiers.network import new_network, preprocessing_of
from hemabridge.data.cells import CellSet
from hemabridge.ensemble.fit import (
    CANDIDATES,
    MOST_RESTAININGS,
    UNJUDGED,
    EnsembleConfig,
    FittedEnsemble,
    agree,
    mean_answer,
    most,
)
from hemabridge.ensemble.members import Learner, Members
from hemabridge.errors import InputError
from hemabridge.normalizers.by_subdomain import BySubdomain
from hemabridge.normalizers.catalog import fit_normalizer
from hemabridge.training.snapshots import write_snapshot


@dataclass(frozen=True)
class ByBrightness:
    """Sure of class 1 in proportion to the mean of an image's upper left quarter."""

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
    """Makes any image one that nobody can be sure of."""

    def standardize(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.full_like(images, 128)


def cells(dark: int, bright: int, seed: int = 0) -> CellSet:
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [dark, bright])
    images = rng.integers(0, 60, (dark + bright, 8, 8, 3)) + 180 * labels[:, None, None, None]
    names = tuple(map(str, range(dark + bright)))
    return CellSet(images.astype(np.uint8), labels, ("dark", "bright"), names, names, 8)


def test_the_answer_is_the_mean_over_classifiers_restainings_and_mirror_images() -> None:
    image = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    image[0, :2, :2] = 255  # white upper left quarter: each mirror image moves it, the transpose does not
    np.testing.assert_allclose(mean_answer([ByBrightness()], image), [[0.5, 0.5]])
    fitted = FittedEnsemble("both", (ByBrightness(),), {"as is": Gray(), "inverted": Inverted()})
    np.testing.assert_allclose(fitted.probabilities(np.zeros((2, 4, 4, 3), np.uint8)), [[0.249, 0.751]] * 2, atol=1e-3)
    assert fitted.views(image).shape == (2, 1, 4, 4, 3)
    assert fitted.classes == ("dark", "bright")


def test_direct_classifiers_see_the_images_as_they_are_and_weigh_as_much_as_the_others() -> None:
    black = np.zeros((1, 4, 4, 3), np.uint8)
    fitted = FittedEnsemble(
        "three", (ByBrightness(), ByBrightness()), {"inverted": Inverted()}, direct=(ByBrightness(),)
    )
    # Two classifiers see white and are sure of class 1, one sees black and is sure of class 0. By hand, with the least
    # probability 1/1000: class 0 gets 1000^(-2/3) = 1/100, class 1 gets 1000^(-1/3) = 1/10.
    np.testing.assert_allclose(fitted.probabilities(black), [[1 / 11, 10 / 11]], rtol=1e-5)
    np.testing.assert_allclose(fitted.at_home(black), [[1000 / 1001, 1 / 1001]], rtol=1e-5)  # here all see black
    target, source = cells(20, 20), cells(20, 20, seed=1)
    config = EnsembleConfig(restainings=("white-point",))
    found = agree(config, [ByBrightness()], source.images, target, direct=[ByBrightness()], seed=0)
    assert found.direct == (ByBrightness(),)
    assert found.class_prior is not None
    with pytest.raises(InputError, match="all of the same classes"):
        agree(config, [ByBrightness()], source.images, target, direct=[ByBrightness(classes=("a", "b"))], seed=0)


def test_a_class_that_one_family_all_but_rules_out_is_not_named() -> None:
    fitted = FittedEnsemble("two", (ByBrightness(),), {}, direct=(ByBrightness(),))
    aided = np.array([[0.55, 0.44, 0.01]], np.float32)
    direct = np.array([[0.01, 0.44, 0.55]], np.float32)
    found = fitted.joined([aided, aided], direct)
    assert found.argmax() == 1
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(fitted.joined([aided], None), aided)


@dataclass(frozen=True)
class Unsure(ByBrightness):
    """Says as much as it can bear: never more than 0.75 for a class."""

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.float32(0.25) + super().probabilities(images) / np.float32(2)


@pytest.mark.parametrize(("max_confidence_gap", "heard"), [(0.05, False), (0.5, True), (None, True)])
def test_direct_classifiers_that_are_much_less_sure_take_no_part(
    max_confidence_gap: float | None, *, heard: bool
) -> None:
    target, source = cells(20, 20), cells(20, 20, seed=1)
    config = EnsembleConfig(restainings=("reinhard-site",), max_confidence_gap=max_confidence_gap)
    found = agree(config, [ByBrightness()], source.images, target, direct=[Unsure()], seed=0)
    assert bool(found.direct) is heard
    members = Members((Learner(Path("colors"), False, target), Learner(Path("shape"), True, target)), (ByBrightness(),))
    learners = members.heard(found).learners
    assert [one.snapshot.name for one in learners] == (["colors", "shape"] if heard else ["colors"])
    assert members.heard(found).others == (ByBrightness(),)


@dataclass(frozen=True)
class Reversed(ByBrightness):
    """Takes bright for dark, until it is measured again."""

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return super().probabilities(images)[:, ::-1]


class UnsureReversed(Unsure):
    """Also takes bright for dark."""

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return super().probabilities(images)[:, ::-1]


@pytest.mark.parametrize(
    ("direct", "adabn_min_gain", "least", "kept_anew"),
    [
        (Reversed(), ByBrightness(), 0.05, True),
        (Reversed(), ByBrightness(), None, False),
        (Reversed(), None, 0.0, False),  # it has no batch norm
        (ByBrightness(), Reversed(), 0.0, False),
        (ByBrightness(), Unsure(), 0.0, False),  # names the same
    ],
)
def test_direct_classifiers_are_adabn_where_they_then_name_more_as_the_others_do(
    monkeypatch: pytest.MonkeyPatch,
    direct: ByBrightness,
    adabn_min_gain: ByBrightness | None,
    least: float | None,
    *,
    kept_anew: bool,
) -> None:
    shown: list[NDArray[np.uint8]] = []

    def measure(classifier: ByBrightness, images: NDArray[np.uint8]) -> ByBrightness | None:
        assert classifier is direct
        shown.append(images)
        return adabn_min_gain

    monkeypatch.setattr("hemabridge.ensemble.fit.adabn", measure)
    target, source = cells(20, 20), cells(30, 10, seed=1)
    config = EnsembleConfig(restainings=("reinhard-site",), adabn_min_gain=least, max_confidence_gap=None)
    found = agree(config, [ByBrightness()], source.images, target, direct=[direct], seed=0)
    assert found.adabn is kept_anew
    assert found.direct == ((adabn_min_gain if kept_anew else direct),)
    if not isinstance(direct, Reversed):  # a quarter of the source is bright; so is more of what is measured
        assert 0.3 < np.mean(shown[0].mean(axis=(1, 2, 3)) > 120) < 0.6


def test_nothing_is_adabn_for_those_that_are_much_less_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """On blurred images they name more as the others do, and yet too little: they are not asked."""
    monkeypatch.setattr("hemabridge.ensemble.fit.adabn", lambda *_: ByBrightness())
    target, source = cells(20, 20), cells(20, 20, seed=1)
    config = EnsembleConfig(restainings=("reinhard-site",), adabn_min_gain=0.0, max_confidence_gap=0.05)
    found = agree(config, [ByBrightness()], source.images, target, direct=[UnsureReversed()], seed=0)
    assert found.direct == ()
    assert not found.adabn
    everyone = config.model_copy(update={"max_confidence_gap": None})
    assert agree(everyone, [ByBrightness()], source.images, target, direct=[UnsureReversed()], seed=0).adabn


def test_a_team_keeps_those_that_were_adabn(tmp_path: Path) -> None:
    config = ClassifierConfig(architecture="test_resnet", size_px=32)
    networks = [new_network("test_resnet", 32, 2) for _ in range(2)]
    about = {
        "kind": "classifier",
        "config": config.model_dump(mode="json"),
        "preprocessing": preprocessing_of(config).model_dump(mode="json"),
        "classes": ["dark", "bright"],
    }
    for name, network in zip(("colors", "shape"), networks, strict=True):
        raw = {key.replace(".", "/", 1): value for key, value in network.state_dict().items()}
        write_snapshot(tmp_path / name, 8, 1.0, raw, None, about)
    target = cells(2, 2)
    images = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3)).astype(np.uint8)
    own = [tmp_path / name / "epoch-0001.safetensors" for name in ("colors", "shape")]
    members = Members((Learner(own[0], False, target), Learner(own[1], True, target)))
    (shape,) = members.direct()
    adabn_min_gain = adabn(shape, images)
    assert adabn_min_gain is not None
    fitted = FittedEnsemble("both", members.asked_about_restainings(), {}, direct=(adabn_min_gain,))
    assert members.kept(fitted, tmp_path / "adabn_min_gain") is members
    kept = members.kept(replace(fitted, adabn=True), tmp_path / "adabn_min_gain")
    assert [one.snapshot for one in kept.learners] == [own[0], tmp_path / "adabn_min_gain" / "1.safetensors"]
    (read,) = kept.direct()
    np.testing.assert_allclose(read.probabilities(images), adabn_min_gain.probabilities(images), atol=1e-6)
    assert np.abs(read.probabilities(images) - shape.probabilities(images)).max() > 1e-3


def test_a_restaining_that_leaves_the_classifiers_unsure_takes_no_part() -> None:
    target, source = cells(20, 20), cells(20, 20, seed=1)
    config = EnsembleConfig(restainings=("white-point",), max_confidence_gap=0.1, prior_rounds=0)
    fitted = agree(config, [ByBrightness()], source.images, target, trained={"gray": Gray()}, seed=0)
    assert list(fitted.standardizers) == ["white-point"]
    assert fitted.confidence["gray"] == pytest.approx(0.502, abs=1e-3)
    assert fitted.confidence["white-point"] > 0.6
    everyone = config.model_copy(update={"max_confidence_gap": None})
    both = agree(everyone, [ByBrightness()], source.images, target, trained={"gray": Gray()}, seed=0)
    assert list(both.standardizers) == ["white-point", "gray"]


def test_most_keeps_the_order_and_those_within_the_bound() -> None:
    assert most({"a": 0.7, "b": 0.9, "c": 0.88}, 0.03) == ("b", "c")
    assert most({"a": 0.7, "b": 0.9}, None) == ("a", "b")
    assert most({"a": 0.7, "b": 0.9, "c": 0.88}, None, 2) == ("b", "c")
    assert most({"a": 0.7}, 0.1, 4) == ("a",)


def test_of_restainings_that_classifiers_are_as_sure_of_those_in_accord_with_shape_take_part() -> None:
    target, source = cells(20, 20), cells(20, 20, seed=1)
    config = EnsembleConfig(restainings=("white-point",), prior_rounds=0)
    inverted = {"inverted": Inverted()}
    judged = agree(config, [ByBrightness()], source.images, target, trained=inverted, direct=[ByBrightness()], seed=0)
    assert list(judged.standardizers) == ["white-point"]
    assert judged.soft_agreement["inverted"] < 0.5 < judged.soft_agreement["white-point"]
    assert list(judged.confidence) == ["white-point"]
    alone = agree(config, [ByBrightness()], source.images, target, trained=inverted, seed=0)
    assert "inverted" in alone.standardizers
    assert alone.soft_agreement == {}
    everyone = config.model_copy(update={"max_agreement_gap": None})
    both = agree(everyone, [ByBrightness()], source.images, target, trained=inverted, direct=[ByBrightness()], seed=0)
    assert list(both.standardizers) == ["white-point", "inverted"]


def test_more_restainings_are_tried_where_somebody_can_judge_them() -> None:
    target, source = cells(12, 12), cells(12, 12, seed=1)
    config = EnsembleConfig(prior_rounds=0)
    judged = agree(config, [ByBrightness()], source.images, target, direct=[ByBrightness()], seed=0)
    assert tuple(judged.soft_agreement) == CANDIDATES
    everyone = agree(
        config.model_copy(update={"max_agreement_gap": None}),
        [ByBrightness()],
        source.images,
        target,
        direct=[ByBrightness()],
        seed=0,
    )
    best = sorted(everyone.soft_agreement, key=everyone.soft_agreement.__getitem__, reverse=True)[:MOST_RESTAININGS]
    assert set(everyone.standardizers) == set(best)
    alone = agree(config, [ByBrightness()], source.images, target, seed=0)
    assert tuple(alone.confidence) == UNJUDGED


@dataclass(frozen=True)
class ByCenter(ByBrightness):
    """Sure of class 1 in proportion to the brightness of an image's center."""

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


TARGET = smears((225, 215, 210), 40, 40)
WHITE, YELLOW = smears((250, 250, 250), 20, 20, seed=1).images, smears((250, 240, 130), 30, 20, seed=2).images


def test_each_subdomain_of_a_source_has_restainings_of_its_own() -> None:
    source = np.concatenate([WHITE, YELLOW])
    config = EnsembleConfig(restainings=("white-point", "linear-ot"), max_agreement_gap=None, prior_rounds=1)
    found = agree(config, [ByCenter()], source, TARGET, direct=[ByCenter()], seed=0)
    assert len(found.subdomains) == 2
    assert all(set(names) == {"white-point", "linear-ot"} for names in found.subdomains.values())
    assert set(found.soft_agreement) == {
        f"{name} on {subdomain}" for name in config.restainings or () for subdomain in found.subdomains
    }
    for restaining in found.standardizers.values():
        assert isinstance(restaining, BySubdomain)
        fields = np.median(restaining.standardize(source)[:, :4], axis=(1, 2))
        np.testing.assert_allclose(fields, np.broadcast_to((225, 215, 210), fields.shape), atol=8)
    one = agree(config.model_copy(update={"subdomains": 1}), [ByCenter()], source, TARGET, direct=[ByCenter()], seed=0)
    assert one.subdomains == {}
    assert set(one.soft_agreement) == {"white-point", "linear-ot"}


def test_a_look_with_fewer_restainings_uses_its_best_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def soft_agreement(unaided: NDArray[np.float32], answer: NDArray[np.float32]) -> float:
        tried.append(len(unaided))
        return {40: (0.2, 0.9), 50: (0.7, 0.7)}[len(unaided)][tried.count(len(unaided)) - 1]

    tried: list[int] = []
    monkeypatch.setattr("hemabridge.ensemble.fit.soft_agreement", soft_agreement)
    config = EnsembleConfig(restainings=("white-point", "linear-ot"), prior_rounds=0)
    found = agree(config, [ByCenter()], np.concatenate([WHITE, YELLOW]), TARGET, direct=[ByCenter()], seed=0)
    assert sorted(found.subdomains.values(), key=len) == [("linear-ot",), ("white-point", "linear-ot")]
    assert list(found.standardizers) == ["white-point", "linear-ot"]
    methods = [
        sorted(own.method for own in each.normalizers)
        for each in found.standardizers.values()
        if isinstance(each, BySubdomain)
    ]
    assert methods == [["linear-ot", "white-point"], ["linear-ot", "linear-ot"]]


def test_looks_that_show_other_classes_are_no_looks() -> None:
    source = cells(40, 40, seed=1).images  # cells fill the image, so that their own color seems to be the field's
    found = agree(EnsembleConfig(), [ByBrightness()], source, cells(40, 40), direct=[ByBrightness()], seed=0)
    assert found.subdomains == {}
    assert set(found.soft_agreement) == set(CANDIDATES)


def test_without_judges_or_with_a_translator_a_site_is_not_parted() -> None:
    source = np.concatenate([WHITE, YELLOW])
    assert agree(EnsembleConfig(), [ByCenter()], source, TARGET, seed=0).subdomains == {}
    config = EnsembleConfig(restainings=("white-point",))
    gray = {"gray": Gray()}
    assert agree(config, [ByCenter()], source, TARGET, trained=gray, direct=[ByCenter()], seed=0).subdomains == {}


def test_drawing_the_target_in_the_sources_mix_keeps_rare_classes_rare() -> None:
    # Both sites look alike, so the right re-staining changes nothing; matching to equal shares brightens dark cells.
    target, source = cells(60, 60), cells(90, 10, seed=1)
    balanced = fit_normalizer("histogram", source.images, target.images).standardize(source.images)
    config = EnsembleConfig(restainings=("histogram",), prior_rounds=3)
    fitted = agree(config, [ByBrightness()], source.images, target, seed=0)
    assert fitted.class_prior is not None
    assert fitted.class_prior[0] > 0.6
    change, naive = (
        np.abs(restained.astype(int) - source.images).mean() for restained in (fitted.views(source.images)[0], balanced)
    )
    assert change < 0.7 * naive


def test_the_same_seed_gives_the_same_agreement() -> None:
    target, source = cells(30, 30), cells(20, 10, seed=1)
    first, again = (
        agree(EnsembleConfig(), [ByBrightness()], source.images, target, seed=3).probabilities(source.images)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)


def test_classifiers_of_other_classes_and_unknown_names_are_refused() -> None:
    target = cells(4, 4)
    with pytest.raises(InputError, match="all of the same classes"):
        agree(EnsembleConfig(), [ByBrightness(), ByBrightness(classes=("a", "b"))], target.images, target, seed=0)
    with pytest.raises(ValidationError, match="expected different normalizers out of"):
        EnsembleConfig(restainings=("linear-oat",))
