import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hemabridge.report.pictures import LARGEST_SIDE_PX, CellStrip, StudyPictures, image_uri

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 24, 3), dtype=np.uint8)


def decode(uri: str) -> np.ndarray:
    head, _, body = uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body, validate=True))))


def test_a_small_picture_is_kept_to_the_pixel() -> None:
    assert np.array_equal(decode(image_uri(IMAGE)), IMAGE)
    assert np.array_equal(decode(image_uri(IMAGE[:, ::-1])), IMAGE[:, ::-1])


def test_a_large_picture_is_shrunk_and_keeps_its_shape() -> None:
    assert decode(image_uri(np.zeros((400, 200, 3), np.uint8))).shape == (LARGEST_SIDE_PX, LARGEST_SIDE_PX // 2, 3)


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
@pytest.mark.parametrize("where", ["original", "restained", "truth", "target"])
def test_what_is_no_image_is_refused(bad: Any, where: str) -> None:
    fields: dict[str, Any] = {"original": IMAGE, "restained": {"10": IMAGE}, "truth": IMAGE}
    if where == "target":
        with pytest.raises(ValueError, match="expected an image"):
            StudyPictures((), (bad,))
        return
    fields[where] = {"10": bad} if where == "restained" else bad
    with pytest.raises(ValueError, match="expected an image"):
        CellStrip("a.png", "blast", **fields)


def test_cells_restained_by_different_methods_are_refused() -> None:
    cells = (CellStrip("a.png", "blast", IMAGE, {"10": IMAGE}), CellStrip("b.png", "blast", IMAGE, {"15": IMAGE}))
    with pytest.raises(ValueError, match=r"expected every cell re-stained by 10, got 15 for b\.png"):
        StudyPictures(cells, ())
