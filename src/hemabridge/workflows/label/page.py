"""The page on which an expert labels cells: its folder, its server, and the labels that were given."""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Final, NamedTuple

from hemabridge.errors import InputError
from hemabridge.imaging.files import read_image
from hemabridge.imaging.scale import crop_center, resize_square, squeezed
from hemabridge.imaging.standardizer import UInt8Image
from hemabridge.review.label_pages import make_labeling_app
from hemabridge.review.picture_files import SHOWN_PX, encoded
from hemabridge.review.questions import UNSURE
from hemabridge.review.records import Question
from hemabridge.review.store import STORE, NewReader, Screen, Store
from hemabridge.workflows.label.hospital import Hospital
from hemabridge.workflows.label.label_files import UNKNOWN_CLASS, CellToLabel
from hemabridge.workflows.review.create import new_folder, write_private
from hemabridge.workflows.review.serve import serve_app

HOST: Final = "127.0.0.1"
"""Other computers do not reach the page."""
PICTURES: Final = "pictures"
LINK: Final = "link.txt"
READER: Final = "expert"
FILLS_IMAGE: Final = 0.9
"""If the square around the cell has this share of the image's shorter side, the image is not shown beside it."""
NO_BREAK: Final = 1_000_000
"""A break is proposed after so many cells: never."""


class Asked(NamedTuple):
    """Labels by path, and whether the expert has finished; more may follow if not."""

    labels: dict[str, str]
    finished: bool


def ask_on_page(
    hospital: Hospital,
    chosen: Sequence[CellToLabel],
    folder: Path,
    *,
    language: str,
    port: int,
    ready: Callable[[str], None],
) -> Asked:
    """Serve the page until the expert has finished, or until SIGINT or SIGTERM; return the labels.

    Each answer is on the disk before the next cell is shown; one that is taken back stays in the history. If all cells
    have a label already, the page is not served.

    Args:
        hospital: of the cells.
        chosen: the cells in the order in which they are shown.
        folder: for the page; the same call goes on with the answers in it.
        language: of the page, `en` or `es`, if it is new.
        port: 0 takes a free one.
        ready: called with the address of the page once it can be opened.

    Raises:
        InputError: the folder is of other cells, or the port cannot be listened on.
        RunError: the folder is damaged.
    """
    paths = [cell.path for cell in chosen]
    if not folder.exists():
        _create(hospital, paths, folder, language)
    with Store.open(folder / STORE) as store:
        if store.settings().get("cells") != paths:
            raise InputError(
                f"expected the labels of these {len(paths)} cells in {folder}, got others; name another --out"
            )
        found = _labels_in(store, paths)
        if len(found) == len(paths):
            return Asked(found, finished=True)
        finished = Event()
        link = (folder / LINK).read_text(encoding="utf-8").strip()
        app = make_labeling_app(store, folder / PICTURES, finished)
        serve_app(app, HOST, port, lambda address: ready(f"{address}{link}"), finished)
        return Asked(_labels_in(store, paths), finished.is_set())


def _create(hospital: Hospital, paths: Sequence[str], out: Path, language: str) -> None:
    """Make the folder of the page; it appears as a whole, and only its owner can read it."""
    files = dict(zip(hospital.manifest.column("path"), hospital.manifest.paths(), strict=True))
    with new_folder(out) as folder:
        (folder / PICTURES).mkdir()
        screens = []
        for number, path in enumerate(paths, 1):
            names = []
            for shown in _pictures(hospital, read_image(files[path])):
                names.append(secrets.token_hex(12))
                (folder / PICTURES / f"{names[-1]}.png").write_bytes(encoded(shown))
            asks = ((secrets.token_hex(12), Question.CELL_TYPE),)
            screens.append(Screen(secrets.token_hex(12), asks, tuple(names)))
            hospital.run.progress("writing pictures", number, len(paths))
        token = secrets.token_urlsafe(24)
        order = tuple(screen.id for screen in screens)
        reader = NewReader(READER, token, order, hospital.run.classes, language)
        settings = {"title": "hemabridge label", "home": "", "break_every": NO_BREAK, "cells": list(paths)}
        Store.create(folder / STORE, settings, screens, [reader]).close()
        write_private(folder / LINK, f"/r/{token}/\n")


def _pictures(hospital: Hospital, image: UInt8Image) -> list[UInt8Image]:
    """Return the cell enlarged and, if that is more, the largest central square of the image as it came."""
    if hospital.crop_px == "whole":
        return [squeezed(image, SHOWN_PX)]
    side = min(image.shape[:2])
    cell = resize_square(crop_center(image, hospital.crop_px), SHOWN_PX)
    if hospital.crop_px > FILLS_IMAGE * side:
        return [cell]
    return [cell, resize_square(crop_center(image, side), SHOWN_PX)]


def _labels_in(store: Store, paths: Sequence[str]) -> dict[str, str]:
    """Return the labels that stand, by path."""
    return {
        paths[verdict.order]: UNKNOWN_CLASS if verdict.answer == UNSURE else verdict.answer
        for verdict in store.verdicts()
    }
