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


@pytest.mark.parametrize("columns", [["a"], ["a", "b", "c"]])
def test_rows_that_do_not_fit_their_names_are_refused(columns):
    with pytest.raises(InputError, match="expected 1 x"):
        draw_sheet([np.zeros((2, 8, 8, 3), np.uint8)], ["x"], columns)
