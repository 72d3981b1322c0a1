"""The pictures of one pair for the report: cells on their way through the epochs, and those nearest to training."""

from collections.abc import Sequence

import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.data.sampling import evenly_spaced
from hemabridge.report.synthesis_pictures import DirectionPictures, EpochCells, NearCell
from hemabridge.synthesis.results import Direction
from hemabridge.training.snapshots import Snapshot
from hemabridge.workflows.synthesis.pair import DIRECTIONS, PairSynthesis
from hemabridge.workflows.synthesis.synthetic_cells import there_and_back


def pair_pictures(pair: PairSynthesis) -> dict[Direction, DirectionPictures]:
    """Return the pictures of both directions."""
    return {direction: _direction_pictures(pair, direction) for direction in DIRECTIONS}


def _direction_pictures(pair: PairSynthesis, direction: Direction) -> DirectionPictures:
    recipe, inputs = pair.recipe, pair.inputs
    source, intended = pair.classes(direction)
    chosen, made = pair.chosen(direction), pair.cells(direction)
    sources = made.sources.subset(_spread_out(made.sources, recipe.shown_cells))
    real = inputs.cells("test", intended)
    epochs = []
    for snapshot in shown_snapshots(pair.snapshots, recipe.shown_snapshots, chosen):
        synthetic, back = there_and_back(snapshot.path, direction, sources.images)
        epochs.append(EpochCells(f"epoch {snapshot.epoch:g}", snapshot == chosen, synthetic, back))
    training = inputs.cells("train", source, intended)
    nearest = tuple(
        NearCell(
            found,
            made.synthetic[made.sources.ids.index(found.id)],
            training.images[training.ids.index(found.training_id)],
        )
        for found in pair.measured(direction).copies.shown()
    )
    return DirectionPictures(sources.images, tuple(epochs), real.images[_spread_out(real, recipe.shown_cells)], nearest)


def shown_snapshots(snapshots: Sequence[Snapshot], count: int, chosen: Snapshot) -> list[Snapshot]:
    """Return at most `count` snapshots, evenly from the first to the last one; the chosen one is among them."""
    places = set(evenly_spaced(len(snapshots), count, ends=True).tolist())
    own = list(snapshots).index(chosen)
    if own not in places:
        places.remove(min(places, key=lambda place: (abs(place - own), place)))
        places.add(own)
    return [snapshots[place] for place in sorted(places)]


def _spread_out(cells: CellSet, count: int) -> list[int]:
    """Return places of at most `count` cells, evenly over their paths: not picked by how they look."""
    order = np.argsort(np.asarray(cells.ids))
    return [int(order[place]) for place in evenly_spaced(len(cells), count, ends=True)]
