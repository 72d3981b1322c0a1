import numpy as np
import pytest

from hemabridge.selection.rule import RuleConfig, Table, choose, smoothing_weights

PLAIN = RuleConfig(most_refused=0.3, stain_margin=0)


def table(
    distance: list[float],
    kept: list[float],
    refused: list[float] | None = None,
    *,
    images: tuple[int, ...] | None = None,
    distance_drawn: np.ndarray | None = None,
    refused_drawn: np.ndarray | None = None,
    tinted: list[float] | None = None,
    allowed: list[bool] | None = None,
    margin: float = PLAIN.stain_margin,
    octaves: float = 0.0,
) -> Table:
    near, structure = np.array(distance), np.array(kept)
    lost = np.zeros(len(distance)) if refused is None else np.array(refused)
    spotted = np.zeros(len(distance)) if tinted is None else np.array(tinted)
    drawn = 1 if distance_drawn is None else len(distance_drawn)
    return Table(
        images=images or tuple(100 * 4**place for place in range(len(distance))),
        distance=near,
        distance_drawn=near[None] if distance_drawn is None else distance_drawn,
        margin=margin,
        octaves=octaves,
        refused=lost,
        refused_drawn=np.repeat(lost[None], drawn, axis=0) if refused_drawn is None else refused_drawn,
        kept=structure,
        kept_drawn=np.repeat(structure[None], drawn, axis=0),
        tinted=spotted,
        tinted_drawn=np.repeat(spotted[None], drawn, axis=0),
        allowed=np.ones(len(distance), bool) if allowed is None else np.array(allowed),
    )


def test_the_nearest_above_the_floor_is_chosen() -> None:
    found = choose(table([0.5, 0.1, 0.3, 0.2], [0.9] * 4, [0.0, 0.31, 0.1, 0.3]), PLAIN)
    assert found.chosen == 3
    np.testing.assert_array_equal(found.won, [0, 0, 0, 1])
    assert found.alike == ()


def test_a_snapshot_that_tints_glass_is_not_chosen_however_near_it_is() -> None:
    found = choose(table([0.1, 0.3], [0.9] * 2, tinted=[0.11, 0.01]), PLAIN)
    assert found.chosen == 1
    assert choose(table([0.1, 0.3], [0.9] * 2, tinted=[0.11, 0.06]), PLAIN).chosen is None
    assert choose(table([0.1, 0.3], [0.9] * 2, tinted=[0.05, 0.01]), PLAIN).chosen == 0


def test_of_those_that_are_equally_near_the_one_that_keeps_most_is_chosen() -> None:
    rows = [0.34, 0.30, 0.32, 0.36], [0.95, 0.80, 0.90, 0.99]
    assert choose(table(*rows), PLAIN).chosen == 1
    assert choose(table(*rows, margin=0.03), PLAIN).chosen == 2
    assert choose(table(*rows, margin=0.045), PLAIN).chosen == 0


def test_of_equals_the_earliest_is_chosen_and_the_others_are_told() -> None:
    found = choose(table([0.4, 0.2, 0.2, 0.2], [0.9] * 4), PLAIN)
    assert found.chosen == 1
    assert found.alike == (2, 3)


def test_structure_that_is_kept_decides_between_equals() -> None:
    assert choose(table([0.1, 0.3], [0.6, 0.9]), PLAIN).chosen == 0
    assert choose(table([0.1, 0.1], [0.6, 0.9]), PLAIN).chosen == 1


def test_what_destroys_the_targets_cells_too_is_not_chosen_though_the_guard_learned_to_let_it_pass() -> None:
    assert choose(table([0.1, 0.3], [0.4, 0.9]), PLAIN).chosen == 1
    assert choose(table([0.1, 0.3], [0.4, 0.9]), PLAIN.model_copy(update={"least_kept": 0.0})).chosen == 0


def test_none_above_the_floor_is_none_chosen() -> None:
    found = choose(table([0.1, 0.2], [0.9, 0.9], [0.4, 0.31]), PLAIN)
    assert found.chosen is None
    assert found.alike == ()
    np.testing.assert_array_equal(found.won, [0, 0])


def test_what_readers_refused_is_not_chosen() -> None:
    assert choose(table([0.1, 0.2], [0.9, 0.9], allowed=[False, True]), PLAIN).chosen == 1
    assert choose(table([0.1, 0.2], [0.9, 0.9], allowed=[False, False]), PLAIN).chosen is None


def test_a_lucky_snapshot_between_bad_ones_is_not_chosen() -> None:
    images = (100, 200, 300, 400, 500)
    rows = [0.60, 0.20, 0.60, 0.25, 0.25], [0.9] * 5
    assert choose(table(*rows, images=images), PLAIN).chosen == 1
    assert choose(table(*rows, images=images, octaves=0.5), PLAIN).chosen == 4


def test_the_floor_holds_for_each_snapshot_by_itself() -> None:
    images = (1000, 1050, 1100)
    rows = table([0.3, 0.1, 0.3], [0.9] * 3, [0.1, 0.4, 0.1], images=images, octaves=1.0)
    found = choose(rows, PLAIN)
    assert found.chosen in (0, 2)


def test_resamples_say_how_often_each_wins() -> None:
    drawn = np.array([[0.5, 0.2, 0.3]] * 62 + [[0.5, 0.3, 0.2]] * 36 + [[0.1, 0.3, 0.2]] * 2)
    found = choose(table([0.5, 0.2, 0.3], [0.9, 0.9, 0.9], distance_drawn=drawn), PLAIN)
    assert found.chosen == 1
    np.testing.assert_allclose(found.won, [0.02, 0.62, 0.36])
    assert found.alike == (2,)  # the first is better in 2 of 100 resamples: that is chance


def test_resamples_without_a_fit_snapshot_are_nobodys() -> None:
    lost, drawn = np.array([[0.1, 0.4]] * 3 + [[0.4, 0.4]]), np.array([[0.5, 0.4]] * 4)
    found = choose(table([0.5, 0.4], [0.9, 0.9], [0.1, 0.4], distance_drawn=drawn, refused_drawn=lost), PLAIN)
    assert found.chosen == 0
    np.testing.assert_allclose(found.won, [0.75, 0])


def test_smoothing_is_in_doublings_of_the_images_seen() -> None:
    weights = smoothing_weights((100, 200, 210), 1.0)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    raw = np.exp(-(np.log2(np.array([1, 2, 2.1])) ** 2) / 2)
    np.testing.assert_allclose(weights[0], raw / raw.sum())
    assert weights[1, 2] > 0.9 * weights[1, 1]
    np.testing.assert_array_equal(smoothing_weights((5, 9), 0), np.eye(2))
    far = smoothing_weights((1000, 8000), 0.25)
    np.testing.assert_allclose(far, np.eye(2), atol=1e-12)


@pytest.mark.parametrize("images", [(), (0, 5), (5, 5), (6, 5)])
def test_snapshots_out_of_order_are_refused(images: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="in the order of training"):
        smoothing_weights(images, 0.25)
