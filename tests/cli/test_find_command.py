"""`hemabridge find` on the command line."""

import numpy as np
from PIL import Image
from skimage.draw import disk


def test_find_prints_what_became_of_each_field(run, tmp_path):
    folder = tmp_path / "fields"
    folder.mkdir()
    image = np.full((300, 400, 3), (230, 225, 220), np.uint8)
    for row, column in [(60, 60), (60, 200), (60, 330), (240, 60), (240, 330)]:
        image[disk((row, column), 37.5)] = (190, 140, 140)
    image[disk((180, 200), 40)] = (90, 40, 130)
    Image.fromarray(image).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"no image")
    done = run("find", folder, tmp_path / "out")
    assert done.code == 1
    assert "2 fields: 1 searched, 0 empty" in done.out
    assert "1 leukocytes (0 cut by the border of a field, 0 blurred), 0 platelets" in done.out
    assert "unreadable: b.png: expected a whole JPEG" in done.err
    assert "caution: these images show single cells already" in done.err
    (folder / "b.png").unlink()
    assert run("find", folder, tmp_path / "out", "--um-per-px", "0.1").code == 0
