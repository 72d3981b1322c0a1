"""What an audit says of the depth of samples: which was guessed, and where the images of a site do not agree."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from hemabridge.data.audit.results import Finding
from hemabridge.imaging.decoding import Decoded

_SHOWN: Final = 3
_REMEDY: Final = (
    "write the depth into the files (the TIFF tag MaxSampleValue), or export all of them as 8-bit RGB by one rule"
)


class Depths:
    """Collects the depth of each image of each site."""

    def __init__(self) -> None:
        self._guessed: dict[str, Counter[int]] = defaultdict(Counter)
        self._examples: dict[tuple[str, int], list[str]] = defaultdict(list)

    def add(self, site: str, path: str, image: Decoded) -> None:
        """Count one image of a site; a depth that its file states is in no doubt."""
        if image.stated:
            return
        self._guessed[site][image.bits] += 1
        if len(self._examples[site, image.bits]) < _SHOWN:
            self._examples[site, image.bits].append(path)

    def findings(self) -> Iterator[Finding]:
        """Say of each site which depth was taken; an error where its images were given several.

        The fewest bits that hold an image's largest value are right if something in it is nearly white. Of a camera of
        14 bits a dark image has the values of one of 12 bits, and would be made four times too bright.
        """
        for site, counts in sorted(self._guessed.items()):
            each = [
                f"{bits} bits ({count}, for example {', '.join(self._examples[site, bits])})"
                for bits, count in sorted(counts.items())
            ]
            if len(counts) > 1:
                yield Finding(
                    "error",
                    f"Images of {site} hold samples of 16 bits and do not say how many are used; by their largest "
                    f"values it would be {' and '.join(each)}. If one camera took them, some are read too bright: "
                    f"{_REMEDY}.",
                )
            else:
                yield Finding(
                    "note",
                    f"Images of {site} hold samples of 16 bits and do not say how many are used; by their largest "
                    f"values they are read as {each[0]}. If that is wrong, {_REMEDY}.",
                )
