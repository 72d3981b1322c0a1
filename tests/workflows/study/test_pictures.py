import numpy as np

from hemabridge.data.cells import CellSet
from hemabridge.workflows.study.report_pictures import STRIPS_PER_CLASS, study_pictures

CLASSES = ("a", "b")


def test_the_cells_of_a_report_are_spread_over_the_paths_of_each_class() -> None:
    ids = tuple(f"{CLASSES[place % 2]}/{place:02}.png" for place in range(36))
    images = np.arange(36, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    cells = CellSet(images, np.arange(36) % 2, CLASSES, ids, ids, 8)
    shown = study_pictures(CLASSES, cells, [], cells, None)
    assert [cell.id for cell in shown.cells] == [
        *("a/00.png", "a/12.png", "a/24.png"),
        *("b/01.png", "b/13.png", "b/25.png"),
    ]
    assert [int(image[0, 0, 0]) for image in shown.target_cells] == [0, 12, 24, 1, 13, 25]
    assert len(shown.cells) == len(CLASSES) * STRIPS_PER_CLASS
