import re
from string import Formatter

import pytest

from hemabridge.evaluation.languages import CELL_TYPES, LANGUAGES
from hemabridge.review.pages import Pages
from hemabridge.review.questions import ANSWERS, KEYS, asked_on, number_in, read_answers, sentences
from hemabridge.review.records import Question
from hemabridge.review.session import Answer, Reader
from hemabridge.review.store import Screen, Store
from hemabridge.review.texts import TEXTS

TYPES = ("monocyte", "blast")
READER = Reader(1, "es", TYPES, begun=True)


def fields_in(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("key", TEXTS)
def test_each_text_is_there_in_all_languages_with_the_same_fields(key: str) -> None:
    assert set(TEXTS[key]) == set(LANGUAGES)
    assert len({frozenset(fields_in(text)) for text in TEXTS[key].values()}) == 1
    assert all(text.strip() == text and text for text in TEXTS[key].values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_readers_are_told_in_five_sentences_what_to_do_and_what_is_recorded(language: str) -> None:
    told = " ".join(sentences(language, 60))
    assert len(re.findall(r"[.!?](?:\s|$)", told)) == 5
    assert "60" in told


def test_spanish_is_no_copy_of_english() -> None:
    alike = {key for key, texts in TEXTS.items() if texts["en"] == texts["es"]}
    assert alike <= {"laboratory_home", "stain_1", "original_picture"}
    assert {name for name, names in CELL_TYPES.items() if "es" not in names} == set()


@pytest.mark.parametrize("question", list(Question))
def test_every_question_and_every_answer_has_words(question: Question) -> None:
    (asked,) = asked_on(Screen("s", (("i", question),), ("p",)), READER, home="")
    assert asked.legend == TEXTS[question.value]["es"]
    assert [option.value for option in asked.options] == list(ANSWERS.get(question, (*TYPES, "unsure")))
    assert all(option.label for option in asked.options)


def test_keys_go_on_over_all_questions_of_a_screen_and_take_none_of_the_others() -> None:
    asks = (("a", Question.STAIN), ("b", Question.STAIN_FAULTS), ("c", Question.CELL_TYPE))
    asked = asked_on(Screen("s", asks, ("p",)), READER, home="")
    assert "".join(option.key for one in asked for option in one.options) == "123456789abc"
    assert set(KEYS).isdisjoint("0up+-")
    many = Reader(1, "en", tuple(f"type {number}" for number in range(60)), begun=True)
    (asked_of_many,) = asked_on(Screen("s", (("a", Question.CELL_TYPE),), ("p",)), many, home="")
    assert [option.key for option in asked_of_many.options][len(KEYS) :] == [""] * (61 - len(KEYS))


def test_a_laboratory_is_called_by_its_name_where_it_has_one() -> None:
    screen = Screen("s", (("i", Question.LABORATORY),), ("p",))
    labels = [asked_on(screen, READER, home)[0].options[0].label for home in ("", "Hospital {x} Clínic")]
    assert labels == ["Nuestro laboratorio", "Hospital {x} Clínic"]


MORPHOLOGY = Screen("s", (("i", Question.MORPHOLOGY),), ("p", "q"))


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"x": ["0.25"], "y": ["1"]}, (0.25, 1.0)),
        ({"x": [""], "y": [""], "ninth": ["0"]}, (1 / 6, 1 / 6)),
        ({"ninth": ["5"]}, (5 / 6, 0.5)),
        ({"ninth": ["7"]}, (0.5, 5 / 6)),
    ],
)
def test_a_place_comes_from_a_mark_or_from_a_ninth(fields: dict[str, list[str]], place: tuple[float, float]) -> None:
    found = read_answers(MORPHOLOGY, READER, fields | {"i": ["changed"]})
    assert found is not None
    assert found[0].place == pytest.approx(place)
    assert read_answers(MORPHOLOGY, READER, fields | {"i": ["unchanged"]}) == [Answer("i", "unchanged")]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"x": ["0.5"]},
        {"x": ["1.01"], "y": ["0.5"]},
        {"x": ["-0.1"], "y": ["0.5"]},
        {"x": ["nan"], "y": ["0.5"]},
        {"ninth": ["9"]},
        {"ninth": ["1.5"]},
        {"ninth": ["-1"]},
        {"ninth": ["1", "2"]},
    ],
)
def test_a_change_without_a_place_is_no_answer(fields: dict[str, list[str]]) -> None:
    assert read_answers(MORPHOLOGY, READER, fields | {"i": ["changed"]}) is None


def test_faults_are_kept_in_their_order_whatever_was_clicked_first() -> None:
    screen = Screen("s", (("i", Question.STAIN_FAULTS),), ("p",))
    assert read_answers(screen, READER, {"i": ["background", "nucleus"]}) == [Answer("i", "nucleus,background")]
    assert read_answers(screen, READER, {}) == [Answer("i", "")]
    assert read_answers(screen, READER, {"i": ["everything"]}) is None


def test_numbers_of_a_form_are_finite_or_none() -> None:
    given = {"a": ["1e3"], "b": ["inf"], "c": ["x"], "d": ["1", "2"], "e": ["1" * 50]}
    assert [number_in(given, name) for name in "abcdef"] == [1000.0, None, None, None, None, None]


def test_names_with_marks_of_html_stay_text(store: Store) -> None:
    pages = Pages(store)
    html = pages.welcome(Reader(1, "en", (), begun=False), "<script>alert(1)</script>")
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
