"""Images of files that a command needs several times."""

import hashlib

import numpy as np
import pytest

from hemabridge.errors import ImageError
from hemabridge.imaging.files import read_image, write_image
from hemabridge.imaging.kept_images import KeptImages


@pytest.mark.parametrize(("kept_bytes", "again"), [(300, [1, 2, 2]), (0, [2, 2, 2]), (900, [1, 1, 1])])
def test_the_first_images_are_read_once(tmp_path, reads, kept_bytes, again):
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for number, file in enumerate(files):
        write_image(file, np.random.default_rng(number).integers(0, 256, (10, 10, 3), np.uint8))
    kept = KeptImages(kept_bytes)
    with reads(f"keep {kept_bytes}"):
        for _ in range(2):
            found = [kept.hashed(file) for file in files]
    assert reads.times(f"keep {kept_bytes}", files) == again
    for file, (image, digest) in zip(files, found, strict=True):
        np.testing.assert_array_equal(image, read_image(file))
        np.testing.assert_array_equal(kept.read(file), image)
        assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
        with pytest.raises(ValueError, match="read-only"):
            image[0] = 0


def test_what_is_no_image_is_refused_each_time(tmp_path):
    (tmp_path / "a.png").write_bytes(b"none")
    kept = KeptImages()
    for _ in range(2):
        with pytest.raises(ImageError, match=r"a\.png"):
            kept.read(tmp_path / "a.png")
