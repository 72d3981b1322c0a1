import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from toy import cpu

from hemabridge.data.cells import UNKNOWN, CellSet
from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.errors import InputError, RunError
from hemabridge.networks.config import PixelDiscriminatorConfig, PixelNetworkConfig
from hemabridge.translators.batches import UnpairedBatches, chances_of, from_network
from hemabridge.translators.config import TranslatorConfig
from hemabridge.translators.objective_config import CycleGanConfig
from hemabridge.translators.train import train_translator

CLASSES = ("neutrophil", "lymphocyte")


def cells(hospital: str, counts: tuple[int, int], size_px: int = 64) -> CellSet:
    """Return so many neutrophils and lymphocytes."""
    images, labels = simulate_cells(CLASSES, max(counts), HOSPITALS[hospital], 0, size_px)
    rows = np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in enumerate(counts)])
    names = tuple(f"{hospital}-{row}" for row in rows)
    return CellSet(images[rows], labels[rows], CLASSES, names, names, size_px)


def numbered(count: int, first: int = 0) -> np.ndarray:
    """Return images that are filled with their numbers."""
    return np.stack([np.full((8, 8, 3), first + number, np.uint8) for number in range(count)])


def test_each_class_of_the_target_and_each_kind_of_the_source_comes_equally_often() -> None:
    source, target = cells("yellow-field", (24, 6)), cells("clinic-like", (4, 12))
    own, other = chances_of("both", source, target)
    assert own is not None
    assert other is not None
    assert own.sum() == pytest.approx(1)
    assert [other[target.labels == label].sum() for label in (0, 1)] == pytest.approx([0.5, 0.5])
    # Nobody told the source's classes; as they come lymphocytes have a share of 0.2.
    assert 0.35 < own[source.labels == 1].sum() < 0.65
    assert chances_of("target", source, target)[0] is None
    assert chances_of("none", source, target) == (None, None)


def test_target_cells_without_a_class_do_not_come() -> None:
    source, target = cells("yellow-field", (4, 4)), cells("clinic-like", (4, 4))
    labels = np.where(np.arange(8) == 5, UNKNOWN, target.labels)
    named = CellSet(target.images, labels, CLASSES, target.ids, target.hashes, 64)
    found = chances_of("target", source, named)[1]
    assert found is not None
    assert found[5] == 0
    assert found.sum() == pytest.approx(1)
    nameless = CellSet(target.images, np.full(8, UNKNOWN), CLASSES, target.ids, target.hashes, 64)
    with pytest.raises(InputError, match="got none; name them"):
        chances_of("both", source, nameless)


def test_batches_are_drawn_by_chance_and_depend_on_their_place_alone() -> None:
    chances = (np.array([0.5, 0.5, 0.0]), np.array([0.8, 0.1, 0.1]))
    batches = UnpairedBatches(numbered(3), numbered(3, 100), 4, 2, 0, 1, *chances)
    shown = list(itertools.islice(batches(0), 200))

    def counts(site: str) -> Counter[int]:
        return Counter(int(value) for batch in shown for value in from_network(batch[site])[:, 0, 0, 0])

    assert set(counts("source")) == {0, 1}
    assert 160 < counts("source")[0] < 240
    assert 290 < counts("target")[100] < 350
    assert from_network(next(batches(8))["target"]).tolist() == from_network(shown[4]["target"]).tolist()


def test_a_balanced_training_is_another_one_and_goes_on_only_with_the_same_classes(tmp_path: Path) -> None:
    source, target = cells("yellow-field", (6, 2), 20), cells("clinic-like", (2, 6), 20)
    model = CycleGanConfig(generator=PixelNetworkConfig(width=4), discriminator=PixelDiscriminatorConfig(channels=4))
    plain = TranslatorConfig(model=model, load_px=20, crop_px=16, epoch_images=4, constant_epochs=1, decay_epochs=0)
    balanced = plain.model_copy(update={"balance": "both"})
    assert "balance" not in plain.model_dump()  # earlier runs of it go on
    (one,) = train_translator(plain, source, target, tmp_path / "plain", cpu(), seed=0)
    (other,) = train_translator(balanced, source, target, tmp_path / "balanced", cpu(), seed=0)
    assert one.path.read_bytes() != other.path.read_bytes()
    renamed = CellSet(target.images, 1 - target.labels, CLASSES, target.ids, target.hashes, 20)
    with pytest.raises(RunError):
        train_translator(balanced, source, renamed, tmp_path / "balanced", cpu(), seed=0)
