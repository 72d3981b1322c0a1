from dataclasses import replace

import numpy as np
import pytest

from hemabridge.data.cells import CellSet
from hemabridge.errors import InputError
from hemabridge.guard.cell_sets import guard_cells, with_fallback
from hemabridge.guard.guarded import GuardedStandardizer
from hemabridge.guard.thresholds import floors
from hemabridge.imaging.standardizer import Standardizer, UInt8Images
from hemabridge.normalizers.catalog import fit_on_cells


class Blots:
    """Darkens every image, and blots out the middle of those whose first pixel is even in green."""

    def standardize(self, images: UInt8Images) -> UInt8Images:
        out = images // 2 + 20
        out[images[:, 0, 0, 1] % 2 == 0, 20:44, 20:44] = 90
        return out


@pytest.fixture
def cells(source: UInt8Images) -> UInt8Images:
    images = source[:8].copy()  # of three classes
    images[:, 0, 0, 1] = np.arange(8)
    return images


@pytest.fixture
def guarded(source: UInt8Images, target: UInt8Images) -> GuardedStandardizer:
    return GuardedStandardizer(Blots(), floors(), fit_on_cells("white-point", source, target))


def test_keeps_the_contract_of_a_standardizer(guarded: GuardedStandardizer, cells: UInt8Images) -> None:
    assert isinstance(guarded, Standardizer)
    before = cells.copy()
    out = guarded.standardize(cells)
    assert (out.shape, out.dtype) == (cells.shape, np.uint8)
    np.testing.assert_array_equal(cells, before)
    assert not np.shares_memory(out, cells)
    np.testing.assert_array_equal(guarded.standardize(cells), out)
    np.testing.assert_array_equal(guarded.standardize(cells[3:4])[0], out[3])
    np.testing.assert_array_equal(guarded.standardize(cells[::-1])[::-1], out)
    assert guarded.standardize(cells[:0]).shape == (0, *cells.shape[1:])


def test_refused_cells_come_from_the_fallback_and_the_others_do_not(
    guarded: GuardedStandardizer, cells: UInt8Images
) -> None:
    checked = guarded.checked(cells)
    assert checked.verdicts.refused.tolist() == [True, False] * 4
    assert guarded.fallback is not None
    np.testing.assert_array_equal(checked.images[::2], guarded.fallback.standardize(cells[::2]))
    np.testing.assert_array_equal(checked.images[1::2], Blots().standardize(cells[1::2]))
    assert all("residual" in names for names in checked.verdicts.reasons[::2])
    assert len(checked.morphology) == 8


def test_without_a_fallback_only_the_verdicts_tell(cells: UInt8Images) -> None:
    checked = GuardedStandardizer(Blots(), floors()).checked(cells)
    np.testing.assert_array_equal(checked.images, Blots().standardize(cells))
    assert checked.verdicts.count("refuse") == 4


def test_only_what_is_in_view_is_judged(cells: UInt8Images) -> None:
    corner = GuardedStandardizer(Blots(), floors(), view=lambda images: images[:, :18, :18])
    assert corner.checked(cells).verdicts.count("refuse") == 0


def cell_set(images: UInt8Images) -> CellSet:
    ids = tuple(f"{place}.png" for place in range(len(images)))
    return CellSet(images, np.zeros(len(images), np.int64), ("neutrophil",), ids, ids, 64)


def test_a_set_of_cells_under_guard(cells: UInt8Images, target: UInt8Images) -> None:
    before, after = cell_set(cells), cell_set(Blots().standardize(cells))
    found = guard_cells(before, after, floors())
    assert found.ids == before.ids
    assert found.refused_share == 0.5
    assert found.reasons()["residual"] == 4
    worst = found.worst(2)
    assert len(worst) == 2
    assert found.verdicts.severity[worst[0]] == found.verdicts.severity.max()
    assert len(found.worst(100)) == 4
    safer = cell_set(fit_on_cells("white-point", cells, target).standardize(cells))
    kept = with_fallback(after, safer, found.verdicts)
    np.testing.assert_array_equal(kept.images[::2], safer.images[::2])
    np.testing.assert_array_equal(kept.images[1::2], after.images[1::2])


def test_no_cells_are_refused_in_no_share(cells: UInt8Images) -> None:
    assert guard_cells(cell_set(cells[:0]), cell_set(cells[:0]), floors()).refused_share == 0


def test_other_cells_are_no_pair(cells: UInt8Images) -> None:
    before = cell_set(cells)
    renamed = replace(before, ids=tuple(reversed(before.ids)))
    with pytest.raises(InputError, match="the same cells in one order"):
        guard_cells(before, renamed, floors())
    verdicts = guard_cells(before, before, floors()).verdicts
    with pytest.raises(InputError, match="one verdict and one fallback for each of 8 cells"):
        with_fallback(before, renamed, verdicts)
