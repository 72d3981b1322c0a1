"""Predictions of a made-up study: two classifiers, two snapshots, 40 cells of three classes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from hemabridge.evaluation.predictions import Predictions

TRUTH = np.repeat([0, 1, 2], [20, 12, 8])
MakeRun = Callable[..., Predictions]


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    """Makes a run of class `predicted` for each cell, with some confidence."""

    def make(predicted: Sequence[int], truth: Sequence[int] | None = None, **changes: Any) -> Predictions:
        known = TRUTH if truth is None else np.array(truth, dtype=np.int64)
        n = len(known)
        confidence = np.linspace(0.5, 0.9, n)
        probabilities = np.repeat(((1 - confidence) / 2)[:, None], 3, axis=1)
        probabilities[np.arange(n), np.asarray(predicted)] = confidence
        fields: dict[str, Any] = {
            "site": "foreign",
            "part": "test",
            "classifier": "net",
            "images": "original",
            "snapshot": None,
            "labels_used": 0,
            "ids": tuple(f"{place:03d}.png" for place in range(n)),
            "truth": known,
            "probabilities": probabilities.astype(np.float32),
        }
        return Predictions(**{**fields, **changes})

    return make


@pytest.fixture(scope="session")
def runs(make_run: MakeRun) -> list[Predictions]:
    rng = np.random.default_rng(4)

    def predicted(skill: float) -> np.ndarray:
        return np.where(rng.random(len(TRUTH)) < skill, TRUTH, (TRUTH + 1) % 3)

    found = []
    for name, skill in (("net", 0.4), ("other", 0.5), ("net, AdaBN", 0.6)):
        found.append(make_run(predicted(skill), classifier=name))
        for snapshot, gain in (("epoch-0015", 0.2), ("epoch-0020", 0.3)):
            found.append(make_run(predicted(skill + gain), classifier=name, images="cyclegan", snapshot=snapshot))
    return [*found, *(make_run(predicted(0.5 + labels / 100), labels_used=labels) for labels in (8, 32))]
