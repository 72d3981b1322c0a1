"""Names of the PNG files of re-stained cells, from those of the photographs. Nothing here needs PyTorch."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath


def picture_names(ids: Sequence[str]) -> list[str]:
    """Return a PNG file's name for each image: its own, and with the old suffix inside where two would be one."""
    plain = [PurePosixPath(name).with_suffix(".png").as_posix() for name in ids]
    twice = {name for name, count in Counter(plain).items() if count > 1}
    return [f"{own}.png" if name in twice and own != name else name for own, name in zip(ids, plain, strict=True)]
