import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from hemabridge.errors import InputError, ModelError
from hemabridge.guard.morphology import BAD, Morphology, compare
from hemabridge.guard.thresholds import (
    FEWEST,
    FLOORS,
    MAX_JSON_CHARACTERS,
    Thresholds,
    floors,
    learn_normalizer_thresholds,
    learn_thresholds,
    read_thresholds,
    thresholds_of,
)
from hemabridge.guard.verdict import verdicts_of
from hemabridge.imaging.standardizer import UInt8Images


class Shifted:
    """Moves every image a pixel to the right."""

    def standardize(self, images: UInt8Images) -> UInt8Images:
        return np.roll(images, 1, axis=2)


class Noise:
    """Draws noise, whatever it is given."""

    def standardize(self, images: UInt8Images) -> UInt8Images:
        return np.random.default_rng(0).integers(100, 156, images.shape, dtype=np.uint8)


class Same:
    def standardize(self, images: UInt8Images) -> UInt8Images:
        return images.copy()


def morphology_of(**values: np.ndarray) -> Morphology:
    unchanged = {name: np.full(11, 1.0 if bad == "low" else 0.0) for name, bad in BAD.items()}
    return Morphology(**{**unchanged, **values})


def test_what_changes_nothing_gets_the_floors(target: UInt8Images) -> None:
    learned = learn_thresholds(Same(), target)
    assert learned.cells == len(target)
    for name, (warn, refuse) in FLOORS.items():
        assert (learned.limits[name].warn, learned.limits[name].refuse) == pytest.approx((warn, refuse))


def test_the_rule_worked_out_by_hand() -> None:
    # 0.0, 0.1 ... 1.0: median 0.5, 90th percentile 0.9; 0.5 + 2 x 0.4 and 0.5 + 3 x 0.4.
    tenths = np.arange(11) / 10
    fewer = tenths / 4  # below the ceilings
    learned = thresholds_of(morphology_of(residual=tenths, structure_ssim=1 - fewer, nucleus_area_change=-fewer))
    assert (learned.limits["residual"].warn, learned.limits["residual"].refuse) == pytest.approx((1.3, 1.7))
    assert (learned.limits["structure_ssim"].warn, learned.limits["structure_ssim"].refuse) == pytest.approx(
        (1 - 1.3 / 4, 1 - 1.7 / 4)
    )
    area = learned.limits["nucleus_area_change"]
    assert (area.warn, area.refuse) == pytest.approx((1.3 / 4, 1.7 / 4))
    assert learned.limits["lobe_change"] == floors().limits["lobe_change"]


def test_what_moves_the_target_may_move_other_cells_as_far(target: UInt8Images) -> None:
    learned, strict = learn_thresholds(Shifted(), target), floors()
    assert learned.limits["residual"].refuse > 1.5 * strict.limits["residual"].refuse
    assert learned.limits["structure_ssim"].refuse < strict.limits["structure_ssim"].refuse - 0.05


def test_what_leaves_nothing_of_the_target_teaches_no_limit_that_lets_noise_pass(target: UInt8Images) -> None:
    """A translator that draws noise in the place of the target's cells draws it in the place of all cells."""
    learned = learn_thresholds(Noise(), target)
    limits = learned.limits
    assert (limits["nucleus_dice"].refuse, limits["structure_ssim"].refuse) == (0.5, 0.5)
    assert limits["nucleus_area_change"].refuse <= math.log(2)
    assert limits["glass_tint"].refuse == FLOORS["glass_tint"][1]
    verdicts = verdicts_of(compare(target, Noise().standardize(target)), learned)
    assert verdicts.count("refuse") == len(target)


def test_a_normalizer_is_fitted_from_the_target_to_the_target(target: UInt8Images) -> None:
    learned = learn_normalizer_thresholds("linear-ot", target)
    assert learned.cells == len(target) // 2
    assert learned.limits == floors().limits


def test_too_few_cells_are_refused(target: UInt8Images) -> None:
    with pytest.raises(InputError, match=f"at least {FEWEST} cells"):
        learn_thresholds(Same(), target[: FEWEST - 1])
    with pytest.raises(InputError, match=f"at least {2 * FEWEST} cells"):
        learn_normalizer_thresholds("linear-ot", target[: 2 * FEWEST - 1])


def test_json_there_and_back_keeps_every_bit(target: UInt8Images, tmp_path: Path) -> None:
    learned = learn_thresholds(Shifted(), target)
    path = tmp_path / "guard.json"
    path.write_text(learned.to_json(), encoding="utf-8")
    assert read_thresholds(path) == learned
    assert Thresholds.from_json(learned.to_json()) == learned


def changed_json(**change: object) -> str:
    return json.dumps(json.loads(floors().to_json()) | change)


def with_limit(name: str, warn: object, refuse: object) -> str:
    limits = json.loads(floors().to_json())["limits"]
    return changed_json(limits=limits | {name: {"warn": warn, "refuse": refuse}})


HOSTILE = {
    "nothing": "",
    "no object": "[1, 2]",
    "deep": "[" * 50_000,
    "another version": changed_json(version=2),
    "an unknown key": changed_json(code="import os"),
    "no limits": changed_json(limits={}),
    "an unknown measure": with_limit("beauty", 0.1, 0.2),
    "text for a number": with_limit("residual", "0.1", "0.2"),
    "not a number": with_limit("residual", float("nan"), 0.2),
    "infinite": with_limit("residual", 0.1, float("inf")),
    "huge": with_limit("residual", 0.1, 1e300),
    "refused before warned": with_limit("residual", 0.3, 0.2),
    "refused before warned, low is bad": with_limit("structure_ssim", 0.7, 0.8),
    "everything refused": with_limit("residual", 0.0, 0.0),
    "on the good side": with_limit("nucleus_dice", 1.2, 1.1),
    "negative, either is bad": with_limit("nucleus_area_change", -0.3, 0.4),
    "cells below none": changed_json(cells=-1),
    "long": " " * (MAX_JSON_CHARACTERS + 1),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_json_is_refused_with_a_short_message(what: str, tmp_path: Path) -> None:
    path = tmp_path / "guard.json"
    path.write_text(HOSTILE[what], encoding="utf-8")
    with pytest.raises(ModelError, match="expected") as refused:
        read_thresholds(path)
    assert len(str(refused.value)) < 800
    with pytest.raises(ModelError, match="expected"):
        Thresholds.from_json(HOSTILE[what])


def test_no_file_and_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=re.escape(f"got nothing or a folder: {tmp_path}")):
        read_thresholds(tmp_path)
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    with pytest.raises(ModelError, match="expected limits"):
        read_thresholds(tmp_path / "bytes")


def test_limits_from_before_the_measure_of_the_glass_get_its_floor() -> None:
    newest = json.loads(floors().to_json())
    del newest["limits"]["glass_tint"]
    for version in ({"format": 2}, {"version": 1}):
        old = {name: value for name, value in newest.items() if name != "format"} | version
        assert Thresholds.from_json(json.dumps(old)) == floors()
    with pytest.raises(ModelError, match="expected a limit for each of"):
        Thresholds.from_json(json.dumps(newest))
