"""All texts of the readers' pages, in English and in Spanish, from `texts.json`."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

_CATALOG: Final[Mapping[str, Any]] = json.loads(files(__package__).joinpath("texts.json").read_text(encoding="utf-8"))
TEXTS: Final[Mapping[str, Mapping[str, str]]] = _CATALOG["texts"]
"""Texts by key, then by language; fields are in braces."""


def text(language: str, key: str, **fields: object) -> str:
    """Return a text of the catalog with its fields filled in.

    >>> text("es", "progress", done=3, total=60)
    '3 de 60'
    """
    return TEXTS[key][language].format(**fields)
