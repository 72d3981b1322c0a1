import numpy as np
import pytest

from hemabridge.errors import InputError
from hemabridge.imaging.sheet import draw_sheet


def test_every_picture_is_on_the_sheet_unchanged():
    pictures = np.random.default_rng(0).integers(0, 255, (2, 3, 20, 20, 3), dtype=np.uint8)
    sheet = draw_sheet(pictures, ["neutrophil", "reactive_lymphocyte"], ["a", "", "b"])
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (20, 20, 3))[:, :, 0]
    for picture in pictures.reshape(-1, 20, 20, 3):
        assert np.count_nonzero((windows == picture).all(axis=(-3, -2, -1))) == 1


@pytest.mark.parametrize("side", [8, 20, 60, 130])
def test_no_name_runs_into_its_neighbor_or_over_a_picture(side):
    def ink(rows, columns, level=255):
        """Return what a sheet of pictures of one gray level shows that is not white."""
        picture = np.full((side, side, 3), level, np.uint8)
        return (draw_sheet([[picture] * len(columns)] * len(rows), rows, columns) < 255).any(axis=2)

    rows, columns = ["reinhard-compartment_of_both_sites"] * 2, ["abnormal_lymphocyte"] * 2
    parts = [ink([name, ""], ["", ""]) for name in rows[:1]] + [ink(["", rows[1]], ["", ""])]
    assert not (parts[0] & parts[1]).any()
    parts = [ink(["", ""], [columns[0], ""]), ink(["", ""], ["", columns[1]])]
    assert not (parts[0] & parts[1]).any()
    assert parts[0].sum() == parts[1].sum()  # the same name, whole both times
    left, right = (np.flatnonzero(part.any(axis=0)) for part in parts)
    assert right[0] - left[-1] > 6  # two names, not one
    names, pictures = ink(rows, columns), ink(rows, columns, level=0) & ~ink(rows, columns)
    assert pictures.sum() == 4 * side**2  # no picture lies under a name
    assert names.any()


@pytest.mark.parametrize("columns", [["a"], ["a", "b", "c"]])
def test_rows_that_do_not_fit_their_names_are_refused(columns):
    with pytest.raises(InputError, match="expected 1 x"):
        draw_sheet([np.zeros((2, 8, 8, 3), np.uint8)], ["x"], columns)
