"""Fifty readers at once on the pages of a review over loopback: lost verdicts, and how long an answer takes.

    python benchmarks/review_load.py                    each reader looks at every picture for a second
    python benchmarks/review_load.py --look-seconds 0   no reader looks at all: how much the server bears

The server is a process of its own; readers send what a browser sends: they get the page and its pictures, look, and
send the form. Server and readers share the cores of this machine.
"""

import argparse
import asyncio
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

import httpx2

PROGRAM = "from hemabridge.cli import main; main()"


@dataclass
class Timings:
    """Seconds of every request of a kind, and what was sent."""

    answers: list[float] = field(default_factory=list)
    pages: list[float] = field(default_factory=list)
    pictures: list[float] = field(default_factory=list)
    sent: dict[tuple[str, str], str] = field(default_factory=dict)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--screens", type=int, default=20)
    parser.add_argument("--look-seconds", type=float, default=1.0, help="mean time for which a picture is looked at")
    spec = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        links = make_review(Path(folder), spec.readers, spec.screens)
        server = start(Path(folder, "review"))
        try:
            began = time.perf_counter()
            timings = asyncio.run(read_all(links, spec.screens, spec.look_seconds))
            took = time.perf_counter() - began
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate()
        lost = lost_verdicts(Path(folder, "review"), timings)
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"fastapi {version('fastapi')}, uvicorn {version('uvicorn')}\n"
    )
    print(
        f"{spec.readers} readers, {spec.screens} screens each, a picture looked at for {spec.look_seconds:g} s on "
        f"average; {len(timings.answers) / took:.0f} answers a second; verdicts lost: {lost} of {len(timings.sent)}\n"
    )
    print("| request | n | median | 95th percentile | slowest |\n| --- | ---: | ---: | ---: | ---: |")
    for name in ("answers", "pages", "pictures"):
        taken = sorted(1000 * seconds for seconds in getattr(timings, name))
        high = taken[int(0.95 * len(taken))]
        print(f"| {name} | {len(taken)} | {median(taken):.0f} ms | {high:.0f} ms | {taken[-1]:.0f} ms |")


def make_review(folder: Path, readers: int, screens: int) -> dict[str, str]:
    """Write a review of simulated cells; return each reader's link."""
    from hemabridge.recipes.review import ReviewPlan
    from hemabridge.workflows.review.create import review_create
    from hemabridge.workflows.simulate.simulate import simulate

    simulate(
        folder / "cells", hospitals=("clinic-like",), classes=("blast", "monocyte"), n_per_class=screens, size_px=48
    )
    plan = {
        "kind": "review",
        "name": "load",
        "readers": [f"reader {number}" for number in range(readers)],
        "arms": [{"name": "original", "folder": folder / "cells" / "clinic-like"}],
        "tasks": [{"questions": ["laboratory"], "cells": screens}],
        "address": "http://127.0.0.1:8399",
    }
    return dict(review_create(ReviewPlan.model_validate(plan), folder / "review").links)


def start(folder: Path) -> "subprocess.Popen[str]":
    """Start the server and wait until it listens."""
    command = [sys.executable, "-c", PROGRAM, "review", "serve", str(folder), "--port", "8399"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    if not server.stdout.readline().startswith("Listening"):
        raise SystemExit("the server does not listen; is port 8399 free?")
    return server


async def read_all(links: dict[str, str], screens: int, look_seconds: float) -> Timings:
    """Let all readers read at once."""
    timings = Timings()
    await asyncio.gather(*(read(name, link, screens, look_seconds, timings) for name, link in links.items()))
    return timings


async def read(name: str, link: str, screens: int, look_seconds: float, timings: Timings) -> None:
    """Answer all screens of one reader, as a browser does; pages and pictures are timed, and looking is not."""
    rng = random.Random(name)
    headers = {"origin": "http://127.0.0.1:8399"}
    await asyncio.sleep(rng.random() * look_seconds)
    async with httpx2.AsyncClient(timeout=60, headers=headers) as client:
        for _ in range(screens):
            began = time.perf_counter()
            html = (await client.get(link + "read")).text
            timings.pages.append(time.perf_counter() - began)
            fields = dict(
                re.findall(r'type="hidden" name="(screen|submission)" value="(\w+)"', html[: html.index("<footer")])
            )
            item = re.findall(r'<button name="(\w+)"', html)[0]
            began = time.perf_counter()
            picture = await client.get(link + re.findall(r'src="(p/\w+\.png)"', html)[0])
            timings.pictures.append(time.perf_counter() - began)
            assert picture.headers["content-type"] == "image/png"
            await asyncio.sleep(look_seconds * rng.uniform(0.5, 1.5))
            answer = rng.choice(("target", "other"))
            began = time.perf_counter()
            response = await client.post(link + "read", data=fields | {item: answer, "seconds": f"{look_seconds:.3f}"})
            timings.answers.append(time.perf_counter() - began)
            assert response.status_code == 303, response.status_code
            timings.sent[name, item] = answer


def lost_verdicts(folder: Path, timings: Timings) -> int:
    """Return how many answers that the server confirmed are not in the store."""
    from hemabridge.review.store import STORE, Store

    with Store.open(folder / STORE) as store:
        found = {(verdict.reader, verdict.item): verdict.answer for verdict in store.verdicts()}
    return sum(found.get(key) != answer for key, answer in timings.sent.items())


if __name__ == "__main__":
    main()
