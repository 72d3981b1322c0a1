"""Class names that differ only in their spelling."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable


def spelling_key(name: str) -> str:
    """Return a key that all spellings of one class share.

    It has no case, blanks, `_`, `-`, invisible characters and dots at its end, and composed accents.

    >>> spelling_key("Band Neutrophil ") == spelling_key("band_neutrophil")
    True
    """
    composed = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    visible = "".join(sign for sign in composed if unicodedata.category(sign) != "Cf")
    return "".join(visible.replace("_", " ").replace("-", " ").split()).rstrip(".")


def spelled_otherwise(names: Iterable[str], others: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of a name and another name that differ only in their spelling."""
    by_key = defaultdict(set)
    for other in others:
        by_key[spelling_key(other)].add(other)
    return [(name, other) for name in sorted(set(names)) for other in sorted(by_key[spelling_key(name)] - {name})]
