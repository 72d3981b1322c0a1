"""The languages of pages and reports: names of cell types, and the sentences that a count stores in English."""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from hemabridge.errors import InputError

_CATALOG: Final[Mapping[str, Any]] = json.loads(
    files(__package__).joinpath("languages.json").read_text(encoding="utf-8")
)
LANGUAGES: Final[Mapping[str, str]] = _CATALOG["languages"]
CELL_TYPES: Final[Mapping[str, Mapping[str, str]]] = _CATALOG["cell_types"]
"""Translated names of known cell types; other types are shown by their class name."""

SENTENCES: Final[tuple[Mapping[str, str], ...]] = tuple(_CATALOG["sentences"])
"""Sentences and words that a count stores, by language; fields are in braces. The first one that fits holds."""

_TRANSLATED: Final = {"reason", "status"}  # fields that hold such a sentence


def check_language(language: str) -> None:
    """Check that pages and reports can be written in a language.

    Raises:
        InputError: they cannot.
    """
    if language not in LANGUAGES:
        raise InputError(f"expected --language {' or '.join(LANGUAGES)}, got {language!r}")


def cell_type_name(language: str, name: str) -> str:
    """Return the label of a cell type on a button.

    >>> cell_type_name("en", "reactive_lymphocyte"), cell_type_name("es", "blast")
    ('Reactive lymphocyte', 'Blasto')
    """
    shown = CELL_TYPES.get(name, {}).get(language, name).replace("_", " ")
    return shown[:1].upper() + shown[1:]


def class_in(language: str, name: str) -> str:
    """Return the name of a class within a sentence.

    >>> class_in("en", "reactive_lymphocyte"), class_in("es", "blast"), class_in("es", "other leukocyte")
    ('reactive_lymphocyte', 'blasto', 'otro leucocito')
    """
    return CELL_TYPES.get(name, {}).get(language, stored_in(language, name))


def stored_in(language: str, sentence: str) -> str:
    """Return a sentence that a count stores, or a word such as its status of a field, in a language.

    One that is not in the catalog, such as a message of another program, stays as it is.

    >>> stored_in("es", "cells cover 0.2% of the field, which is less than 1%")
    'las células cubren el 0.2% del campo, menos del 1%'
    """
    if language == "en":
        return sentence
    for known in SENTENCES:
        found = _pattern(known["en"]).fullmatch(sentence)
        if found is not None:
            values = {name: _value(language, name, value) for name, value in found.groupdict().items()}
            return known[language].format(**values)
    return sentence


@cache
def _pattern(sentence: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(sentence)))


def _value(language: str, name: str, value: str) -> str:
    if name == "list":
        return ", ".join(stored_in(language, part) for part in value.split(", "))
    return stored_in(language, value) if name in _TRANSLATED else value
