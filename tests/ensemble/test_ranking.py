from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hemabridge.data.cells import CellSet
from hemabridge.ensemble.config import EnsembleConfig
from hemabridge.ensemble.members import Member, Members
from hemabridge.ensemble.ranking import RANKED_IMAGES, suitable_restainings
from hemabridge.ensemble.subdomain_fits import RestainingFitter
from hemabridge.imaging.standardizer import UInt8Images

CLASSES = ("dark", "bright")


@dataclass(frozen=True)
class ByBrightness:
    name: str = "by brightness"
    classes: tuple[str, ...] = CLASSES

    def probabilities(self, images: UInt8Images) -> NDArray[np.float32]:
        bright = images.mean(axis=(1, 2, 3)) / 255.0
        return np.stack([1.0 - bright, bright], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Recorder:
    """Changes nothing, and keeps what it was given."""

    given: list[UInt8Images] = field(default_factory=list)

    def standardize(self, images: UInt8Images) -> UInt8Images:
        self.given.append(images)
        return images


def test_restainings_are_ranked_on_every_part_of_a_sorted_source() -> None:
    count = 2 * RANKED_IMAGES - 1  # a stride of count // RANKED_IMAGES = 1 would take the first ones
    levels = np.linspace(0, 255, count).round().astype(np.uint8)  # sorted, as files of one class after the other are
    source = np.broadcast_to(levels[:, None, None, None], (count, 8, 8, 3)).copy()
    names = tuple(map(str, range(count)))
    target = CellSet(source, (levels > 127).astype(np.int64), CLASSES, names, names, 8)
    classifier, recorder = ByBrightness(), Recorder()
    members = Members((Member(classifier),), (Member(classifier),))
    fitter = RestainingFitter(target, {"recorder": recorder}, np.random.default_rng(0))
    config = EnsembleConfig(restainings=("white-point",), max_agreement_gap=None)
    [subdomain] = suitable_restainings(config, members, source, classifier.probabilities(source), fitter)
    [given] = recorder.given
    assert len(given) == RANKED_IMAGES
    seen = given[:, 0, 0, 0].astype(int)
    assert np.diff(seen, prepend=0, append=255).max() <= 4
    assert subdomain.soft_agreement["recorder"] > subdomain.soft_agreement["white-point"]
