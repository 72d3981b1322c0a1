import numpy as np
import pytest

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import InputError
from hemabridge.guard.morphology import compare
from hemabridge.guard.thresholds import Limit, floors, thresholds_of
from hemabridge.guard.verdict import verdicts_of
from hemabridge.imaging.color import optical_density, rgb_to_lab
from hemabridge.imaging.compartments import segment
from hemabridge.metrics.wasserstein import Slices
from hemabridge.models.selection_file import Selection
from hemabridge.selection.choose import Measured, select_snapshot
from hemabridge.selection.descriptor import describe, standardized
from hemabridge.selection.measure import Ruler
from hemabridge.selection.morphology_floor import GUARDED, guarded_places
from hemabridge.selection.rule import RuleConfig
from hemabridge.selection.snapshot_measures import interval_of
from hemabridge.selection.stain_distance import COMPARTMENTS, SLICES, Places, StainProfile, measurable, stain_distances

SIDE = 32
CLASSES = ("neutrophil", "lymphocyte")


def cells(hospital: str, seed: int, count: int = 8) -> np.ndarray:
    return simulate_cells(CLASSES, count, HOSPITALS[hospital], seed, SIDE)[0]


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return cells("yellow-field", 1)


@pytest.fixture(scope="module")
def target() -> np.ndarray:
    return cells("clinic-like", 2)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return cells("clinic-like", 1)


@pytest.fixture(scope="module")
def ruler(source: np.ndarray, target: np.ndarray) -> Ruler:
    return Ruler(source, target, features=describe, resamples=40)


class Constant:
    """A classifier that always answers the same."""

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        bright = images.mean(axis=(1, 2, 3)) > 128
        return np.stack([np.where(bright, 0.9, 0.2), np.where(bright, 0.1, 0.8)], axis=1).astype(np.float32)


def test_the_truth_is_near_and_the_originals_are_the_measure(ruler: Ruler, truth: np.ndarray) -> None:
    originals, right = ruler.originals(), ruler.read(truth, floors())
    assert originals.stain == pytest.approx(1.0)
    assert originals.kept == pytest.approx(1.0)
    np.testing.assert_allclose(originals.stain_drawn, 1.0)
    assert right.stain < 0.3
    assert right.kid < originals.kid / 2
    assert right.auc <= originals.auc
    assert right.kept < 1
    assert originals.refused == 0
    np.testing.assert_array_equal(originals.refused_drawn, 0)
    assert ruler.measured == COMPARTMENTS


def test_a_smear_of_noise_keeps_nothing_and_is_told(ruler: Ruler, source: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(0, 256, source.shape).astype(np.uint8)
    found = ruler.read(noise, floors())
    assert found.kept < 0.2
    assert found.refused == 1
    assert found.auc > 0.95


def test_the_guards_refusals_are_counted_over_cells_and_resamples(ruler: Ruler, source: np.ndarray) -> None:
    moved = source.copy()
    moved[[1, 5, 6]] = np.roll(moved[[1, 5, 6]], 8, axis=2)
    found = ruler.read(moved, floors())
    expected = verdicts_of(compare(source, moved), floors()).refused
    np.testing.assert_array_equal(np.flatnonzero(expected), [1, 5, 6])
    assert found.refused == pytest.approx(3 / 16)
    assert len(found.refused_drawn) == 40
    assert found.refused_drawn.mean() == pytest.approx(3 / 16, abs=0.06)
    assert 0.3 < found.refused_drawn.std() / np.sqrt(3 / 16 * 13 / 16 / 16) < 2  # binomial
    loose = floors().model_copy(update={"limits": {name: Limit(warn=90, refuse=90) for name in floors().limits}})
    loose.limits.update({name: Limit(warn=-90, refuse=-90) for name in ("nucleus_dice", "structure_ssim")})
    assert ruler.read(moved, loose).refused == 0


def test_blotches_on_glass_are_counted_over_cells_and_resamples(ruler: Ruler, source: np.ndarray) -> None:
    assert ruler.read(source, floors()).tinted == 0
    blotched = source.copy()
    for place in (1, 5, 6):
        glass = segment(source[place]).background.copy()
        glass[:, : glass.shape[1] // 2] = False
        blotched[place][glass] = (250, 215, 232)
    found = ruler.read(blotched, floors())
    assert found.tinted == pytest.approx(3 / 16)
    assert found.tinted_drawn.mean() == pytest.approx(3 / 16, abs=0.06)


def test_at_most_so_many_cells_are_judged_evenly_spread() -> None:
    assert guarded_places(7).tolist() == list(range(7))
    assert guarded_places(0).tolist() == []
    places = guarded_places(250)
    assert len(set(places.tolist())) == GUARDED == 100
    assert (places[0], places[1], places[-1]) == (0, 2, 247)


def test_resamples_are_the_same_each_time_and_others_with_another_seed(
    source: np.ndarray, target: np.ndarray, truth: np.ndarray
) -> None:
    first, again, other = (
        Ruler(source, target, features=describe, resamples=10, seed=seed).read(truth, floors()) for seed in (0, 0, 1)
    )
    for name in ("stain_drawn", "kid_drawn", "kept_drawn"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))
    assert first.auc == again.auc
    assert first.stain == other.stain


def test_compartments_and_spaces_weigh_equally(source: np.ndarray, target: np.ndarray) -> None:
    """Worked out again by pooling pixels, which is the same where each cell gives as many of them."""
    flat = np.zeros((10, SIDE, SIDE, 3), np.uint8)
    near, far, goal = flat + 100, flat + 200, flat + 60
    ruler = Ruler(far, goal, features=describe, resamples=2)
    assert ruler.measured == ("background",)  # flat images show no nucleus
    shares = []
    for space, colors in (("lab", rgb_to_lab), ("od", optical_density)):
        one, start, end = (colors(x[0, :1, :1]).reshape(1, 3).astype(float) for x in (near, far, goal))
        slices = SLICES[space]
        shares.append(np.abs((one - end) @ slices.vectors.T).mean() / np.abs((start - end) @ slices.vectors.T).mean())
    assert ruler.read(near, floors()).stain == pytest.approx(np.mean(shares), rel=1e-4)


def test_pooling_counts_each_cell_as_often_as_it_was_drawn(source: np.ndarray) -> None:
    places = Places.found(source[:4])
    profile = StainProfile.of(source[:4], places)
    drawn = profile.pooled(np.array([[2.0, 0, 1, 0]]))
    twice = profile.shares["lab"][[0, 0, 2]].astype(np.float64).mean(axis=0)
    assert profile.present.all()
    np.testing.assert_allclose(drawn["lab"][0], twice, atol=1e-6)
    nobody = stain_distances(drawn, drawn)
    np.testing.assert_allclose(nobody["od"], 0, atol=1e-12)


def test_rare_compartments_are_not_measured() -> None:
    present = np.ones((40, 4), bool)
    rare = present.copy()
    rare[3:, 2] = False
    profiles = [StainProfile({}, shown) for shown in (present, rare)]
    assert measurable(*profiles).tolist() == [True, True, False, True]


def test_a_compartment_that_some_resamples_lack_leaves_no_gap(source: np.ndarray, target: np.ndarray) -> None:
    """Nine flat cells, which are all background, and one with a nucleus: a third of the resamples lacks it."""
    flat = np.full((9, SIDE, SIDE, 3), 230, np.uint8)
    ruler = Ruler(np.concatenate([flat, source[:1]]), target, features=describe, resamples=60)
    assert "nucleus" in ruler.measured
    found = ruler.read(np.concatenate([flat - 20, source[:1]]), floors())
    assert np.isfinite(found.stain_drawn).all()
    assert found.stain_drawn.min() > 0


def test_classifiers_are_watched_and_labels_used_only_if_given(source: np.ndarray, target: np.ndarray) -> None:
    labels = np.arange(len(source)) % 2
    watched = Ruler(source, target, features=describe, classifiers=[Constant()], resamples=5).originals()
    answers = Constant().probabilities(source)
    assert watched.confidence == pytest.approx(answers.max(axis=1).mean())
    shift = np.abs(answers.mean(axis=0) - Constant().probabilities(target).mean(axis=0)).sum() / 2
    assert watched.prior_shift == pytest.approx(shift)
    assert watched.error is None
    told = Ruler(source, target, features=describe, classifiers=[Constant()], labels=labels, resamples=5).originals()
    assert told.error == pytest.approx(np.mean(answers.argmax(axis=1) != labels))


class Told:
    """A classifier whose answers about each call's images are given beforehand."""

    def __init__(self, *answers: np.ndarray) -> None:
        self.answers = list(answers)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return self.answers.pop(0)


def test_without_shape_members_disagreement_is_the_consensus_negative_log_likelihood(
    source: np.ndarray, target: np.ndarray
) -> None:
    count = len(source)
    sure = np.tile(np.array([[0.8, 0.2]]), (count, 1))
    led_astray = sure.copy()
    led_astray[:4] = [0.0, 1.0]
    priors = np.full((len(target), 2), 0.5)
    told = Told(priors, sure, led_astray, sure)
    ruler = Ruler(source, target, features=describe, classifiers=[told], resamples=20)
    read = [ruler.read(source, floors()) for _ in range(3)]
    assert [reading.disagreement for reading in read] == [None] * 3
    first, astray, last = ruler.compared(read)
    # Two of three say the first class of every cell; a probability of 0 counts as 1 in 1000.
    assert first.disagreement == last.disagreement == pytest.approx(-np.log(0.8))
    assert astray.disagreement == pytest.approx((4 * -np.log(0.001) + (count - 4) * -np.log(0.8)) / count)
    assert astray.disagreement_drawn is not None
    assert astray.disagreement_drawn.std() > 0
    measured = [
        Measured(name, "", 100 * 4**i, reading) for i, (name, reading) in enumerate(zip("abc", read, strict=True))
    ]
    told.answers += [sure]
    found = select_snapshot("run", ruler, measured, RuleConfig(smoothing_octaves=0), {})
    assert found.chosen == "a"
    assert [row.disagreement for row in found.snapshots] == [first.disagreement, astray.disagreement, last.disagreement]
    assert "disagree least with the consensus of the best half of the snapshots (0.22)" in found.reasons


def test_snapshots_that_are_hardly_trained_do_not_bias_the_consensus(source: np.ndarray, target: np.ndarray) -> None:
    count = len(source)
    wrong, right = (np.tile(np.array([shares]), (count, 1)) for shares in ([0.95, 0.05], [0.3, 0.7]))
    unsure = np.tile(np.array([[0.6, 0.4]]), (count, 1))
    unsure[: count // 3] = [0.1, 0.9]
    priors = np.full((len(target), 2), 0.5)
    told = Told(priors, wrong, unsure, right, right, right)
    ruler = Ruler(source, target, features=describe, classifiers=[told], resamples=5)
    found = ruler.compared([ruler.read(source, floors()) for _ in range(5)])
    # All five together say the second class by 0.5 and a little: the first two alone would say the first.
    assert [reading.disagreement for reading in found[2:]] == pytest.approx([-np.log(0.7)] * 3)
    assert found[0].disagreement == pytest.approx(-np.log(0.05))


def test_with_shape_members_disagreement_is_what_their_soft_agreement_lacks_to_1(
    source: np.ndarray, target: np.ndarray
) -> None:
    count = len(source)
    first = count // 4
    priors = np.full((len(target), 2), 0.5)
    by_shape = np.tile(np.array([[0.0, 1.0]], np.float32), (count, 1))
    by_shape[:first] = [1.0, 0.0]
    wrong, half = (np.tile(np.array([[0.6, 0.4]]), (count, 1)) for _ in range(2))
    half[first:] = [0.45, 0.55]  # the class of the shape member, with little confidence
    one, other = Told(priors, wrong, half, half), Told(priors, wrong, wrong, half)
    members = [Told(by_shape)]
    ruler = Ruler(source, target, features=describe, classifiers=[one, other], shape_members=members, resamples=200)
    found = ruler.compared([ruler.read(source, floors()) for _ in range(3)])
    # Each class weighs the same: all name the first rightly, and of the second none, one or both do.
    assert [reading.disagreement for reading in found] == pytest.approx([0.5, 0.25, 0.0])
    assert found[1].disagreement_drawn is not None
    assert found[1].disagreement_drawn.mean() == pytest.approx(0.25, abs=0.02)
    assert ruler.has_shape_members


def test_without_a_classifier_there_is_no_disagreement(ruler: Ruler, truth: np.ndarray) -> None:
    read = [ruler.read(truth, floors())] * 2
    assert ruler.compared(read) == read


def test_the_floor_of_the_kernel_distance_holds_nothing(ruler: Ruler) -> None:
    value, (low, high) = ruler.kid_floor()
    assert low < value < high
    assert low < 0 < high


def test_too_few_cells_are_refused(source: np.ndarray, target: np.ndarray) -> None:
    with pytest.raises(InputError, match="at least 10 cells of each site"):
        Ruler(source[:9], target, features=describe)


def test_describing_tells_color_and_texture(source: np.ndarray) -> None:
    features = describe(source)
    assert features.shape == (len(source), 33)
    np.testing.assert_allclose(features[:, 0], [rgb_to_lab(image)[..., 0].mean() for image in source], rtol=1e-4)
    mirrored = describe(source[:, :, ::-1])
    np.testing.assert_allclose(mirrored, features, atol=1e-6)
    reference = np.c_[features[:, :2], np.full(len(source), 3.0)]
    scaled = standardized(reference, reference)
    np.testing.assert_allclose(scaled[:, :2].std(axis=0), 1)
    np.testing.assert_array_equal(scaled[:, 2], 0)


def test_intervals_are_percentiles() -> None:
    assert interval_of(np.arange(1001.0)) == (25.0, 975.0)


def test_slices_hold_all_colors_of_a_blood_film(source: np.ndarray) -> None:
    for space, colors in (("lab", rgb_to_lab), ("od", optical_density)):
        slices: Slices = SLICES[space]
        places = (colors(source).reshape(-1, 3) @ slices.vectors.T - slices.low) / slices.step
        assert places.min() >= 0
        assert places.max() <= slices.nodes - 1


def test_from_readings_to_a_choice(ruler: Ruler, source: np.ndarray, truth: np.ndarray) -> None:
    """Halfway there, there, and there with the structure of other cells."""
    half = ((source.astype(int) + truth) // 2).astype(np.uint8)
    stages: list[tuple[str, np.ndarray]] = [("half", half), ("there", truth), ("moved", truth[::-1])]
    # What the true re-staining does to other cells of so few pixels is not to be refused.
    limits = thresholds_of(compare(cells("yellow-field", 3), cells("clinic-like", 3)))
    measured = [Measured(name, "", 100 * 4**i, ruler.read(images, limits)) for i, (name, images) in enumerate(stages)]

    def found(rule: RuleConfig) -> Selection:
        return select_snapshot("run", ruler, measured, rule, {"n": 1})

    usual = found(RuleConfig())
    assert usual.chosen == "there"
    assert [row.fit for row in usual.snapshots] == [True, True, False]
    assert usual.row("there").won > 0.9
    assert usual.row("moved").refused == 1
    assert Selection.from_json(usual.to_json()) == usual
    assert usual.facts == {"n": 1, "rule": RuleConfig().model_dump()}
