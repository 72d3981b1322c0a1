import threading
from collections.abc import Callable

import pytest

from hemabridge.review.records import Question
from hemabridge.review.session import (
    LONGEST_SECONDS,
    Answer,
    Outcome,
    Reader,
    current_screen,
    last_answered,
    leave,
    may_see,
    next_screen,
    progress_of,
    reader_of,
    set_language,
    show,
    submit,
    undo,
    undone_answers,
)
from hemabridge.review.store import Screen, Store

AnswerNext = Callable[..., str]
ReaderNamed = Callable[[str], Reader]


def screen_of(found: tuple[int, Screen] | None) -> Screen:
    assert found is not None
    return found[1]


def test_a_token_finds_its_reader_and_no_other_text_does(store: Store, reader_named: ReaderNamed) -> None:
    assert reader_named("Ben") == Reader(2, "es", ("neutrophil", "blast"), begun=False)
    for text in ("", "Ben", "' OR 1=1 --", "\ud800", "Ben-token-of-this-reader-00000000"):
        assert reader_of(store, text) is None


def test_a_language_is_kept(store: Store, reader_named: ReaderNamed) -> None:
    set_language(store, reader_named("Ana"), "es")
    assert reader_named("Ana").language == "es"
    assert reader_named("Cem").language == "en"


def test_screens_come_in_the_readers_order_with_what_is_asked(
    store: Store, reader_named: ReaderNamed, answer_next: AnswerNext
) -> None:
    assert screen_of(current_screen(store, reader_named("Ben"))) == Screen(
        "screen-0",
        (("item-0", Question.STAIN), ("fault-0", Question.STAIN_FAULTS)),
        ("picture-0",),
        practice=True,
    )
    assert screen_of(next_screen(store, reader_named("Ben"))).id == "screen-7"
    assert [answer_next("Ben") for _ in range(8)] == ["screen-0", *(f"screen-{number}" for number in range(7, 0, -1))]
    assert current_screen(store, reader_named("Ben")) is None
    assert next_screen(store, reader_named("Ben")) is None
    assert current_screen(store, reader_named("Ana")) is not None


def test_a_reader_sees_no_picture_ahead_of_the_next_one(
    store: Store, reader_named: ReaderNamed, answer_next: AnswerNext
) -> None:
    seen = [may_see(store, reader_named("Ana"), f"picture-{number}") for number in range(4)]
    assert seen == [True, True, False, False]
    answer_next("Ana")
    seen = [may_see(store, reader_named("Ana"), f"picture-{number}") for number in range(4)]
    assert seen == [True, True, True, False]
    assert not may_see(store, reader_named("Ana"), "picture-none")
    for _ in range(7):
        answer_next("Ana")
    assert may_see(store, reader_named("Ana"), "picture-7")


def test_progress_counts_screens_and_takes_the_median_of_their_times(
    store: Store, reader_named: ReaderNamed, answer_next: AnswerNext
) -> None:
    ana = reader_named("Ana")
    assert (progress_of(store, ana).done, progress_of(store, ana).left) == (0, 8)
    assert progress_of(store, ana).seconds_each is None
    now = 100.0
    for seconds in (3.0, 40.0, 5.0):
        show(store, ana, screen_of(current_screen(store, ana)), now)
        now += seconds
        answer_next("Ana", now=now)
    found = progress_of(store, ana)
    assert (found.done, found.total, found.left, found.practice, found.seconds_each) == (3, 8, 5, 1, 5.0)


@pytest.mark.parametrize(
    ("told", "kept"), [(None, 30.0), (12.0, 12.0), (31.0, 30.0), (-5.0, 0.01), (float("inf"), 30.0)]
)
def test_a_page_may_count_less_time_than_the_clock_but_not_more(
    store: Store, reader_named: ReaderNamed, answer_next: AnswerNext, told: float | None, kept: float
) -> None:
    ana = reader_named("Ana")
    show(store, ana, screen_of(current_screen(store, ana)), 1000.0)
    answer_next("Ana", seconds=told, now=1030.0)
    assert store.verdicts()[0].seconds == pytest.approx(kept)


def test_breaks_are_not_counted_and_time_before_them_is(
    store: Store, reader_named: ReaderNamed, answer_next: AnswerNext
) -> None:
    ana = reader_named("Ana")
    screen = screen_of(current_screen(store, ana))
    show(store, ana, screen, 0.0)
    leave(store, ana, screen.id, 4.0, 10.0)  # looked for 4 of 10 seconds, then closed the tab
    show(store, ana, screen, 50_000.0)
    leave(store, ana, "screen-none", 5.0, 50_001.0)
    answer_next("Ana", seconds=2.0, now=50_009.0)
    assert store.verdicts()[0].seconds == pytest.approx(6.0)


def test_an_answer_that_is_given_again_counts_the_time_of_both(
    store: Store, reader_named: ReaderNamed, answer_next: AnswerNext
) -> None:
    ana = reader_named("Ana")
    show(store, ana, screen_of(current_screen(store, ana)), 0.0)
    screen = answer_next("Ana", "1", now=3.0)
    assert undo(store, ana, screen, 10.0)
    show(store, ana, screen_of(current_screen(store, ana)), 10.0)
    answer_next("Ana", "2", now=12.0)
    assert store.verdicts()[0].seconds == pytest.approx(5.0)


def test_a_screen_that_lay_open_over_night_counts_an_hour(
    store: Store, reader_named: ReaderNamed, answer_next: AnswerNext
) -> None:
    ana = reader_named("Ana")
    show(store, ana, screen_of(current_screen(store, ana)), 0.0)
    answer_next("Ana", now=40_000.0)
    assert store.verdicts()[0].seconds == LONGEST_SECONDS


def given(store: Store, reader: Reader, screen: str, submission: str, *answers: Answer) -> Outcome:
    return submit(store, reader, screen, submission, answers, seconds=None, now=0.0)


BOTH = (Answer("item-0", "2"), Answer("fault-0", "nucleus"))


def test_the_same_submission_again_changes_nothing(store: Store, reader_named: ReaderNamed) -> None:
    ana = reader_named("Ana")
    assert given(store, ana, "screen-0", "s1", *BOTH) is Outcome.STORED
    other = (Answer("item-0", "5"), Answer("fault-0", ""))
    assert given(store, ana, "screen-0", "s1", *other) is Outcome.REPLAYED
    assert [verdict.answer for verdict in store.verdicts()] == ["2", "nucleus"]
    assert undo(store, ana, "screen-0", 1.0)
    assert given(store, ana, "screen-0", "s1", *BOTH) is Outcome.REPLAYED  # an undone answer is not revived
    assert store.verdicts() == []


def test_only_the_current_screen_with_all_its_items_is_accepted(store: Store, reader_named: ReaderNamed) -> None:
    ana, ben = reader_named("Ana"), reader_named("Ben")
    assert given(store, ana, "screen-1", "s1", Answer("item-1", "target")) is Outcome.REFUSED  # ahead
    assert given(store, ana, "screen-0", "s1", BOTH[0]) is Outcome.REFUSED  # half
    assert given(store, ana, "screen-0", "s1", *BOTH, Answer("item-1", "target")) is Outcome.REFUSED  # more
    assert given(store, ana, "screen-none", "s1", *BOTH) is Outcome.REFUSED
    assert store.verdicts() == []
    assert given(store, ana, "screen-0", "s1", *BOTH) is Outcome.STORED
    assert given(store, ana, "screen-0", "s2", *BOTH) is Outcome.REFUSED  # behind
    assert given(store, ben, "screen-0", "s1", *BOTH) is Outcome.STORED  # ids of another reader do not count
    assert given(store, ben, "screen-1", "s2", Answer("item-1", "target")) is Outcome.REFUSED  # Ana's next, not Ben's


def test_one_of_many_submissions_at_once_is_stored(store: Store, reader_named: ReaderNamed) -> None:
    ana = reader_named("Ana")
    outcomes: list[Outcome] = []

    def send(number: int) -> None:
        outcomes.append(given(store, ana, "screen-0", f"s{number}", *BOTH))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.value for outcome in outcomes) == ["refused"] * 11 + ["stored"]
    assert len(store.verdicts()) == 2


def test_undoing_goes_back_screen_by_screen_and_shows_what_was_said(
    store: Store, reader_named: ReaderNamed, answer_next: AnswerNext
) -> None:
    ana = reader_named("Ana")
    assert last_answered(store, ana) is None
    assert not undo(store, ana, "screen-0", 0.0)
    answer_next("Ana", "1")
    answer_next("Ana", "other")
    assert not undo(store, ana, "screen-0", 1.0)  # not the last one: a page that is out of date
    assert undo(store, ana, "screen-1", 1.0)
    assert not undo(store, ana, "screen-1", 1.0)
    assert undo(store, ana, "screen-0", 2.0)
    assert screen_of(current_screen(store, ana)).id == "screen-0"
    assert undone_answers(store, ana, "screen-0")["item-0"] == Answer("item-0", "1")
    assert undone_answers(store, ana, "screen-1") == {"item-1": Answer("item-1", "other")}
    assert undone_answers(store, ana, "screen-2") == {}


def test_a_marked_place_is_kept(store: Store, reader_named: ReaderNamed) -> None:
    ana = reader_named("Ana")
    marked = Answer("item-0", "changed", (0.25, 0.75))
    assert given(store, ana, "screen-0", "s1", marked, Answer("fault-0", "")) is Outcome.STORED
    assert [verdict.place for verdict in store.verdicts()] == [(0.25, 0.75), None]
    assert undo(store, ana, "screen-0", 1.0)
    assert undone_answers(store, ana, "screen-0")["item-0"] == marked
