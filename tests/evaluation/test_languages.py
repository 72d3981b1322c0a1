"""Everything that a count stores in English has words in the other languages."""

from dataclasses import fields, replace
from string import Formatter

import numpy as np
import pytest

from hemabridge.domain.site_profile import Distance
from hemabridge.errors import InputError
from hemabridge.evaluation.differential_results import CUT, NO_CELL, OTHER
from hemabridge.evaluation.languages import (
    CELL_TYPES,
    LANGUAGES,
    SENTENCES,
    cell_type_name,
    check_language,
    class_in,
    stored_in,
)
from hemabridge.fields.find_cells import find_cells
from hemabridge.fields.quality import Quality
from hemabridge.fields.sharpness import reason_blurred
from hemabridge.models.site_answer import SiteAnswer
from hemabridge.workflows.adapt.adapted import Adapted

ENGLISH = {
    "and",
    "are",
    "as",
    "at",
    "before",
    "by",
    "cell",
    "cells",
    "each",
    "had",
    "in",
    "is",
    "of",
    "than",
    "the",
}
"""Words that no Spanish sentence has."""


def words(sentence: str) -> set[str]:
    return {word.strip(".,:;()") for word in sentence.lower().split()}


def adapted() -> Adapted:
    """A run of `hemabridge adapt` with everything that speaks against its classes."""
    given = {field.name: None for field in fields(Adapted)} | {
        "target": "ours",
        "source": "theirs",
        "agreement": 0.3,
        "home_agreement": 0.6,
        "home_accuracy": 0.5,
        "pretrained": False,
        "too_few": {"blast": 3, "monocyte": 2},
    }
    return Adapted(**given)  # type: ignore[arg-type]


STORED = [
    *(SiteAnswer(60, Distance(value, 1.0, 2.0), None).fact for value in (0.5, 1.5, 2.5)),
    *adapted().cautions,
    *(Quality(*one).reason for one in ((0.002, 0, 0.7), (0.9, 10, 0.7), (0.5, 10, 1.5))),
    find_cells(np.full((300, 340, 3), 230, np.uint8)).reason,
    reason_blurred(2.0),
    f"crowded: {Quality(0.9, 10, 0.7).reason}",
    *(CUT, OTHER, NO_CELL),
    *("empty", "blurred", "crowded", "unknown scale", "unreadable"),
    *("in-distribution", "borderline", "out-of-distribution"),
]


@pytest.mark.parametrize("sentence", STORED)
def test_what_a_count_stores_has_spanish_words(sentence: str) -> None:
    told = stored_in("es", sentence)
    assert told != sentence
    assert not words(told) & ENGLISH
    assert stored_in("en", sentence) == sentence
    numbers = [word for word in words(sentence) if word.replace(".", "").rstrip("%").isdigit()]
    assert set(numbers) <= words(told)


def test_the_classes_that_had_too_few_cells_keep_their_names_and_numbers() -> None:
    told = stored_in("es", replace(adapted(), agreement=0.6, home_accuracy=1.0, pretrained=True).cautions[0])
    assert "de ellas: blast (3 células), monocyte (2 células)." in told


def test_what_is_not_in_the_catalog_stays_as_it_is() -> None:
    assert stored_in("es", "cannot identify image file") == "cannot identify image file"


@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda one: str(one["en"])[:30])
def test_each_sentence_is_there_in_all_languages_with_the_same_fields(sentence: dict[str, str]) -> None:
    assert set(sentence) == set(LANGUAGES)
    named = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in sentence.values()]
    assert named[0] == named[1]


def test_classes_have_names_for_a_button_and_within_a_sentence() -> None:
    assert (cell_type_name("es", "blast"), class_in("es", "blast"), class_in("en", "blast")) == (
        "Blasto",
        "blasto",
        "blast",
    )
    assert class_in("es", "our class") == "our class"
    assert {name for name, names in CELL_TYPES.items() if "es" not in names} == set()


def test_a_language_without_words_is_refused() -> None:
    check_language("es")
    with pytest.raises(InputError, match="expected --language en or es, got 'fr'"):
        check_language("fr")
