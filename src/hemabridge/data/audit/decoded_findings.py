"""Findings about the files themselves: assumed depths, unreadable color profiles, rows that may be missing."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from hemabridge.data.audit.audit_results import Finding
from hemabridge.data.audit.site_findings import SHOWN, counted, examples
from hemabridge.imaging.decoding import Decoded
from hemabridge.imaging.whole_file import FEW_BLACK_ROWS, black_rows

_REMEDY: Final = (
    "write the depth into the files (the TIFF tag MaxSampleValue), or export all of them as 8-bit RGB by one rule"
)


class DecodedFindings:
    """Collects what each site's files do not state, or what could not be used of them."""

    def __init__(self) -> None:
        self._guessed: dict[str, Counter[int]] = defaultdict(Counter)
        self._examples: dict[tuple[str, int], list[str]] = defaultdict(list)
        self._lost_profile: list[str] = []
        self._black: list[str] = []

    def add(self, site: str, path: str, image: Decoded) -> None:
        """Add one image of a site."""
        if image.lost_profile:
            self._lost_profile.append(path)
        if black_rows(image.pixels) >= FEW_BLACK_ROWS:
            self._black.append(path)
        if image.stated:
            return
        self._guessed[site][image.own_bits] += 1
        if len(self._examples[site, image.own_bits]) < SHOWN:
            self._examples[site, image.own_bits].append(path)

    def findings(self) -> Iterator[Finding]:
        """Yield findings about files, then the estimated depth of each site; it is an error if the images have several.

        The smallest depth for the largest value of an image is correct if a part of the image is almost white. A dark
        image of a camera of 14 bits has the values of one of 12 bits, and would become four times too bright.
        """
        if self._black:
            yield Finding(
                "warning",
                f"Rows at an edge are black: {counted(len(self._black), 'image')} ({examples(self._black)}): "
                "padding, or an incomplete copy; look at them.",
            )
        if self._lost_profile:
            yield Finding(
                "warning",
                f"The color profile cannot be read: {counted(len(self._lost_profile), 'image')} "
                f"({examples(self._lost_profile)}); the samples are taken as sRGB. Export them again as sRGB.",
            )
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
