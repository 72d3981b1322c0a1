"""`hemabridge review create`: draw a sample, and write the folder of a review."""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import tomli_w

from hemabridge.errors import RecipeError, RunError
from hemabridge.progress import Progress, silent
from hemabridge.recipes.review import ReviewPlan
from hemabridge.review.arms import Arm
from hemabridge.review.drawn_sample import DrawnScreen, draw
from hemabridge.review.key import KEY, write_key
from hemabridge.review.order import spaced_order
from hemabridge.review.picture_files import write_pictures
from hemabridge.review.records import Question
from hemabridge.review.store import STORE, NewReader, Store
from hemabridge.storage.files import atomic_write
from hemabridge.workflows.review.read_arms import arms_of

PICTURES: Final = "pictures"
LINKS: Final = "links.txt"
PLAN: Final = "review.toml"


@dataclass(frozen=True)
class Created:
    """A new review.

    Attributes:
        out: its folder.
        screens: number of screens of each reader, including practice and repeats.
        repeats: number of screens that are shown a second time.
        practice: number of screens of the practice round.
        pictures: number of picture files.
        size_px: side of all pictures in pixels.
        apart: smallest number of screens between two showings of one cell, in every reader's order.
        links: link of each reader, by name.
    """

    out: Path
    screens: int
    repeats: int
    practice: int
    pictures: int
    size_px: int
    apart: int
    links: Mapping[str, str]


def review_create(plan: ReviewPlan, out: Path, *, progress: Progress = silent) -> Created:
    """Draw the sample of a review and write its folder: store, pictures, key, links, the whole plan.

    The folder appears as a whole or not at all. Only its owner can read it. Sample, orders and sides follow from the
    plan's seed; ids and links are random.

    Raises:
        RunError: `out` exists, or the study is not finished.
        InputError: the plan cannot be fulfilled; the message states why.
    """
    arms = arms_of(plan, progress)
    blocks = draw(plan.tasks, arms, plan.seed)
    drawn = [screen for block in blocks for screen in block]
    cell_types = _cell_types(plan, arms)
    readers, apart = _readers(plan, blocks, cell_types)
    with new_folder(out) as folder:
        pictures = {
            name: picture
            for shown in drawn
            for name, picture in zip(shown.screen.pictures, shown.pictures, strict=True)
        }
        size_px = write_pictures(
            pictures, folder / PICTURES, size_px=plan.size_px, progress=partial(progress, "writing pictures")
        )
        Store.create(folder / STORE, _settings(plan), [shown.screen for shown in drawn], readers).close()
        write_key(folder / KEY, [item for shown in drawn for item in shown.items])
        links = {reader.name: f"{plan.address.rstrip('/')}/r/{reader.token}/" for reader in readers}
        write_private(folder / LINKS, "".join(f"{name}\t{link}\n" for name, link in links.items()))
        write_private(folder / PLAN, tomli_w.dumps(plan.model_dump(mode="json", exclude_none=True)))
    return Created(
        out=out,
        screens=len(drawn),
        repeats=sum(shown.items[0].repeat_of is not None for shown in drawn),
        practice=len(blocks[0]),
        pictures=len(pictures),
        size_px=size_px,
        apart=apart,
        links=links,
    )


def _settings(plan: ReviewPlan) -> dict[str, Any]:
    """Return the settings for the pages, without arms, folders or models."""
    return {"title": plan.title, "home": plan.home or "", "break_every": plan.break_every}


def _cell_types(plan: ReviewPlan, arms: Mapping[str, Arm]) -> tuple[str, ...]:
    """Return the cell types that readers choose from; none if no task asks for the type."""
    if not plan.asks(Question.CELL_TYPE):
        return ()
    found = sorted({cell.cell_type for arm in arms.values() for cell in arm.cells.values()} - {""})
    missing = sorted(set(found) - set(plan.cell_types)) if plan.cell_types else []
    if missing:
        raise RecipeError(f"expected cell_types with all types of the arms, got none of {', '.join(missing)}; add them")
    types = plan.cell_types or tuple(found)
    if len(types) < 2:
        raise RecipeError(f"expected at least two cell types to ask for, got {list(types)}; state cell_types")
    return types


def _readers(
    plan: ReviewPlan, blocks: Sequence[Sequence[DrawnScreen]], cell_types: Sequence[str]
) -> tuple[list[NewReader], int]:
    """Return the readers, each with an order of screens and of cell types, and the distance that all orders keep."""
    drawn = [shown for block in blocks for shown in block]
    cell_of = {shown.screen.id: shown.items[0].cell for shown in drawn}
    screen_of = {item.item: shown.screen.id for shown in drawn for item in shown.items}
    first_of = {s.screen.id: screen_of[s.items[0].repeat_of] for s in drawn if s.items[0].repeat_of is not None}
    listed = [[shown.screen.id for shown in block] for block in blocks]
    readers, distances = [], []
    for name in plan.readers:
        order, distance = spaced_order(listed, cell_of, first_of, plan.apart, Random(f"{plan.seed}/order/{name}"))
        types = Random(f"{plan.seed}/types/{name}").sample(list(cell_types), len(cell_types))
        readers.append(NewReader(name, secrets.token_urlsafe(24), tuple(order), tuple(types), plan.language))
        distances.append(distance)
    return readers, min(distances)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder that becomes `out` on success and is removed on any exception; only its owner can read it."""
    there = f"expected no folder at {out} yet; choose another with --out, since this one may hold answers"
    if out.exists():
        raise RunError(there)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.with_name(f".{out.name}.{secrets.token_hex(6)}")
    folder.mkdir(mode=0o700)
    try:
        yield folder
        try:
            os.rename(folder, out)
        except OSError as error:
            if out.exists():  # another process has made it in the meantime
                raise RunError(there) from error
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    with atomic_write(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(text, encoding="utf-8")
