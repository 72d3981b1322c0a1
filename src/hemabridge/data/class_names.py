"""Names of classes that differ only in how they are written."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable


def spelling_key(name: str) -> str:
    """Return what the spellings of one class have in common: without case, blanks, `_` and `-`, accents composed.

    >>> spelling_key("Band Neutrophil ") == spelling_key("band_neutrophil")
    True
    """
    composed = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(composed.replace("_", " ").replace("-", " ").split())


def spelled_otherwise(names: Iterable[str], others: Iterable[str]) -> list[tuple[str, str]]:
    """Return each name with the other name that is the same class written in another way."""
    by_key = defaultdict(set)
    for other in others:
        by_key[spelling_key(other)].add(other)
    return [(name, other) for name in sorted(set(names)) for other in sorted(by_key[spelling_key(name)] - {name})]
