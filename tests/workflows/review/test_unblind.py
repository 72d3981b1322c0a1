import csv
import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from hemabridge.errors import InputError, RunError
from hemabridge.evaluation.reading import Reading
from hemabridge.imaging.files import write_image
from hemabridge.recipes.recipe_file import read_recipe
from hemabridge.review.key import write_key
from hemabridge.review.records import Item, Question
from hemabridge.review.session import Answer, current_screen, reader_of, show, submit
from hemabridge.review.store import NewReader, Screen, Store
from hemabridge.selection.readers import read_reader_scores
from hemabridge.workflows.review.unblind import review_unblind
from hemabridge.workflows.selection.select import select
from hemabridge.workflows.train import train

ARMS = ("original", "epoch-0001", "target")
READERS = {"Ana": "token-of-ana", "Ben": "token-of-ben", "Cem": "token-of-cem"}
CELLS = 10

TRANSLATOR = """
kind = "translator"
name = "small"

[source]
site = "yellow-field"
manifest = "{hospitals}/yellow-field/manifest.csv"

[target]
site = "clinic-like"
manifest = "{hospitals}/clinic-like/manifest.csv"

[translator]
load_px = 36
crop_px = 32
epoch_images = 5
constant_epochs = 1
decay_epochs = 1
snapshot_every_epochs = 1
model = {{ generator = {{ channels = 4, blocks = 1 }}, discriminator = {{ channels = 4, layers = 1 }} }}
"""
Says = Callable[[str, Item], str]


def number_of(item: Item) -> int:
    return int(item.shown.split("-")[2])


def make_items() -> list[Item]:
    found = []
    for number in range(CELLS):
        for arm in ARMS:
            cell = hashlib.sha256(f"{arm == 'target'} {number}".encode()).hexdigest()
            name = f"{arm.replace('-', '')}-{number:03d}"
            alone, beside = f"s-{name.partition('-')[0]}-{number}", f"m-{name.partition('-')[0]}-{number}"
            about = (cell, "blast", "ours" if arm == "target" else "theirs")
            found.append(
                Item(f"stain-{name}", Question.STAIN, f"screen-{alone}".replace("screen-s", "screens"), (arm,), *about)
            )
            found.append(Item(f"lab-{name}", Question.LABORATORY, found[-1].shown, (arm,), *about))
            if arm == "epoch-0001":
                shown = f"screen-{beside}".replace("screen-m", "screenm")
                found.append(Item(f"shape-{name}", Question.MORPHOLOGY, shown, ("original", arm), *about))
    first = [item for item in found if item.shown == "screens-original-0"]
    again = [replace(i, item=f"{i.item}-again", shown="screens-again-0", repeat_of=i.item) for i in first]
    return [*found, *again]


def says(reader: str, item: Item) -> str:
    """Ana and Ben agree on every stain but that of two originals; Ben sees changes in three cells, Ana in none."""
    number, arm = number_of(item), item.arms[-1]
    if item.question is Question.STAIN:
        if arm == "original" and reader == "Ben" and number in (3, 4):
            return "5"
        return {"original": "2", "epoch-0001": "4", "target": "5"}[arm]
    if item.question is Question.MORPHOLOGY:
        return "changed" if reader == "Ben" and number < 3 else "unchanged"
    return "target" if arm == "target" or (arm == "epoch-0001" and number % 2) else "other"


def read_all(store: Store, reader: str, items: list[Item], answers: Says, screens: int = 999) -> None:
    """Answer screen by screen as the page does."""
    person = reader_of(store, READERS[reader])
    assert person is not None
    key = {item.item: item for item in items}
    for turn in range(screens):
        current = current_screen(store, person)
        if current is None:
            return
        _, screen = current
        show(store, person, screen, 100.0 * turn)
        given = []
        for name, _ in screen.asks:
            answer = answers(reader, key[name])
            given.append(Answer(name, answer, (0.25, 0.75) if answer == "changed" else None))
        submit(store, person, screen.id, f"{reader}-{turn}", given, seconds=3.0 + turn, now=100.0 * turn + 50)


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return make_items()


@pytest.fixture
def folder(read: Path, tmp_path: Path) -> Path:
    """A copy of the review, to change it."""
    return shutil.copytree(read, tmp_path / "lab")


@pytest.fixture(scope="module")
def read(items: list[Item], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A review that Ana and Ben have read to its end, and Cem has not begun."""
    made = tmp_path_factory.mktemp("review") / "lab"
    rng = np.random.default_rng(0)
    screens = []
    for shown in dict.fromkeys(item.shown for item in items):
        own = [item for item in items if item.shown == shown]
        names = tuple(f"picture-{shown}-{place}" for place in range(len(own[0].arms)))
        for name in names:
            write_image(made / "pictures" / f"{name}.png", rng.integers(0, 255, (24, 24, 3), dtype=np.uint8))
        screens.append(Screen(shown, tuple((item.item, item.question) for item in own), names))
    order = tuple(screen.id for screen in screens)
    readers = [NewReader(name, token, order) for name, token in READERS.items()]
    with Store.create(made / "review.sqlite", {"title": "Cells"}, screens, readers) as store:
        for reader in ("Ana", "Ben"):
            read_all(store, reader, items, says)
    write_key(made / "key.json", items)
    return made


def test_readers_of_known_behavior_are_unblinded_to_it(folder: Path) -> None:
    done = review_unblind(folder)
    reading = done.reading
    assert (reading.name, reading.readers, reading.silent) == ("lab", ("Ana", "Ben"), ("Cem",))
    assert (reading.open_sessions, reading.despite, reading.earlier) == ((), None, ())
    agreement = {found.aspect: found for found in reading.agreement}
    assert agreement["stain"].observed.value == pytest.approx(28 / 30)
    ana = [2] * 10 + [4] * 10 + [5] * 10
    ben = [2] * 3 + [5] * 2 + [2] * 5 + [4] * 10 + [5] * 10
    assert agreement["stain"].cohen.value == pytest.approx(cohen_kappa_score(ana, ben))
    assert agreement["stain"].weighted is not None
    assert agreement["stain"].weighted.value == pytest.approx(
        cohen_kappa_score(ana, ben, labels=[1, 2, 3, 4, 5], weights="quadratic")
    )
    assert agreement["morphology"].observed.value == pytest.approx(0.7)
    assert (agreement["laboratory"].observed.value, agreement["laboratory"].cohen.value) == (1.0, 1.0)
    scores = {(s.measure, s.arm, s.reader): s.share for s in reading.scores}
    assert scores["accepted", "original", None] == pytest.approx(2 / 20)
    assert scores["accepted", "epoch-0001", "Ben"] == pytest.approx(0.7)
    assert scores["taken for the target's", "epoch-0001", None] == pytest.approx(0.5)
    apart = {(found.arm, found.reader): (found.hits, found.signals, found.noises) for found in reading.discrimination}
    assert apart["epoch-0001", None] == (10, 20, 20)
    assert [(repeat.reader, repeat.n) for repeat in reading.repeats if repeat.aspect == "stain"] == [
        ("Ana", 1),
        ("Ben", 1),
        (None, 2),
    ]
    assert {(d.aspect, len(d.answers)) for d in reading.disputes} == {("stain", 2), ("morphology", 2)}
    assert len(reading.disputes) == 5
    assert Reading.read(folder / "unblinded.json") == reading


def test_everything_is_written_and_nothing_is_left_over(folder: Path) -> None:
    done = review_unblind(folder)
    tables = {path.name for path in (folder / "tables").iterdir()}
    assert tables == {
        *("verdicts.csv", "agreement.csv", "repeats.csv", "arms.csv", "told-apart.csv", "sessions.csv", "trends.csv"),
        "reader-scores.csv",
    }
    assert tables == set(done.tables)
    assert {path.name for path in folder.iterdir()} - {"review.sqlite-wal", "review.sqlite-shm"} == {
        *("review.sqlite", "key.json", "pictures", "tables", "unblinded.json", "review-report.html")
    }
    verdicts = list(csv.DictReader(done.tables["verdicts.csv"].read_text(encoding="utf-8").splitlines()))
    assert len(verdicts) == 2 * (3 * CELLS * 2 + CELLS + 2)
    html = done.report.read_text(encoding="utf-8")
    assert html.count("data:image/png") == 2 + 2 * 3
    assert html.count('class="mark"') == 3
    assert "--x:0.2500;--y:0.7500" in html
    assert done.headline in html


def test_selection_takes_the_scores(folder: Path) -> None:
    done = review_unblind(folder)
    assert read_reader_scores(done.tables["reader-scores.csv"], ["epoch-0001", "epoch-0002"]) == {
        "epoch-0001": pytest.approx(17 / 20)
    }


def test_an_open_session_stops_it_before_the_key_is_read(folder: Path, items: list[Item]) -> None:
    with Store.open(folder / "review.sqlite") as store:
        read_all(store, "Cem", items, says, screens=4)
    key = (folder / "key.json").read_bytes()
    (folder / "key.json").write_text("must not be read")
    with pytest.raises(RunError, match=r"have screens left: 'Cem'; wait for them, or give a reason with --despite"):
        review_unblind(folder)
    assert not (folder / "unblinded.json").exists()
    (folder / "key.json").write_bytes(key)
    reading = review_unblind(folder, despite="Cem has left the hospital").reading
    assert (reading.open_sessions, reading.despite) == (("Cem",), "Cem has left the hospital")
    assert "Cem has left the hospital" in (folder / "review-report.html").read_text(encoding="utf-8")


def test_that_it_was_unblinded_early_stays_in_the_record(folder: Path, items: list[Item]) -> None:
    with Store.open(folder / "review.sqlite") as store:
        read_all(store, "Cem", items, says, screens=4)
    review_unblind(folder, despite="impatience")
    with Store.open(folder / "review.sqlite") as store:
        read_all(store, "Cem", items, says)
    for _ in range(2):
        reading = review_unblind(folder).reading
        assert reading.open_sessions == ()
        assert len(reading.earlier) == 1
        assert reading.earlier[0].startswith("Cem had screens left (")
        assert reading.earlier[0].endswith("): impatience.")
    assert "impatience" in (folder / "review-report.html").read_text(encoding="utf-8")
    (folder / "unblinded.json").write_text("{}")
    with pytest.raises(RunError, match="records earlier unblindings"):
        review_unblind(folder)


def test_a_key_of_another_review_is_refused(folder: Path, items: list[Item]) -> None:
    write_key(folder / "key.json", items[:-2])
    with pytest.raises(RunError, match=r"expected the 70 items of the key in the store, got 72, of which 70"):
        review_unblind(folder)
    other = [replace(item, shown="screens-other-0") if number == 5 else item for number, item in enumerate(items)]
    write_key(folder / "key.json", other)
    with pytest.raises(RunError, match="of which 71 are the same"):
        review_unblind(folder)
    assert {path.suffix for path in folder.iterdir()} & {".html", ".csv"} == set()


def test_the_key_may_be_kept_elsewhere(folder: Path, tmp_path: Path) -> None:
    (folder / "key.json").rename(tmp_path / "safe.json")
    with pytest.raises(RunError, match="expected the key of a review"):
        review_unblind(folder)
    assert review_unblind(folder, key=tmp_path / "safe.json").reading.readers == ("Ana", "Ben")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE answer SET answer = '7' WHERE item = 'stain-original-003'",
        "UPDATE submission SET seconds = -1.0",
        "UPDATE answer SET x = 0.5, y = NULL WHERE answer = 'changed'",
        "UPDATE answer SET x = 9.0, y = 0.5 WHERE answer = 'changed'",
    ],
)
def test_a_store_that_was_changed_is_refused(folder: Path, change: str) -> None:
    connection = sqlite3.connect(folder / "review.sqlite")
    connection.execute(change)
    connection.commit()
    connection.close()
    with pytest.raises(RunError, match="changed by something else"):
        review_unblind(folder)
    assert not (folder / "unblinded.json").exists()


def test_names_of_pictures_cannot_leave_the_folder(folder: Path) -> None:
    connection = sqlite3.connect(folder / "review.sqlite")
    connection.execute("UPDATE picture SET id = '../../' || id WHERE screen = 'screens-original-3'")
    connection.commit()
    connection.close()
    with pytest.raises(RunError, match="expected opaque names of pictures"):
        review_unblind(folder)


def test_a_damaged_store_is_told(folder: Path) -> None:
    content = bytearray((folder / "review.sqlite").read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    (folder / "review.sqlite").write_bytes(content)
    with pytest.raises(RunError, match="expected the store of a review"):
        review_unblind(folder)


def test_a_folder_that_is_no_review_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"expected the store of a review at .*review\.sqlite, got no file"):
        review_unblind(tmp_path / "nothing")


def test_pictures_that_are_gone_are_said_to_be(folder: Path) -> None:
    shutil.rmtree(folder / "pictures")
    html = review_unblind(folder).report.read_text(encoding="utf-8")
    assert html.count("picture not found") == 2 + 2 * 3


def test_what_arms_are_is_not_guessed(folder: Path, items: list[Item]) -> None:
    renamed = [replace(i, arms=tuple(arm.replace("target", "ours") for arm in i.arms)) for i in items]
    write_key(folder / "key.json", renamed)
    with pytest.raises(InputError, match=r"expected an arm 'target' .* got epoch-0001, original, ours; name it"):
        review_unblind(folder)
    with pytest.raises(InputError, match=r"expected arms of this review \(epoch-0001, original, ours\), got theirs"):
        review_unblind(folder, target="theirs")
    reading = review_unblind(folder, target="ours").reading
    assert reading.photographs == ("original", "ours")
    assert {found.arm for found in reading.discrimination} == {"original", "epoch-0001"}
    assert review_unblind(folder, target="ours", photographs=["epoch-0001"]).reading.photographs == reading.arms


def test_a_second_call_removes_tables_that_no_longer_hold(folder: Path, items: list[Item]) -> None:
    assert "reader-scores.csv" in review_unblind(folder).tables
    renamed = [replace(i, arms=tuple(arm.replace("epoch-0001", "reinhard") for arm in i.arms)) for i in items]
    write_key(folder / "key.json", renamed)
    assert "reader-scores.csv" not in review_unblind(folder).tables
    assert not (folder / "tables" / "reader-scores.csv").exists()


@pytest.mark.slow
def test_select_is_told_what_readers_accepted(folder: Path, hospitals: Path, tmp_path: Path) -> None:
    """A translator of two epochs, chosen with the scores that unblinding wrote."""
    (tmp_path / "recipe.toml").write_text(TRANSLATOR.format(hospitals=hospitals), encoding="utf-8")
    train(read_recipe(tmp_path / "recipe.toml"), tmp_path / "run")
    found = select(tmp_path / "run", readers=review_unblind(folder).tables["reader-scores.csv"])
    assert [row.snapshot for row in found.snapshots] == ["epoch-0001", "epoch-0002"]
    assert found.row("epoch-0001").readers == pytest.approx(17 / 20)
    assert found.row("epoch-0002").readers is None
