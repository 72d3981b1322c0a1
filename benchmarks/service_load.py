"""Several programs at once on `hemabridge serve` over loopback: answers a second, requests sent away, and none lost.

    python benchmarks/service_load.py                as many clients as the service takes requests
    python benchmarks/service_load.py --clients 32   four times as many: some are sent away, and come again

The model is a normalizer, fitted on simulated cells. Each client sends a request with one image, or several, and waits
for the answer; with status 429 it waits as long as `Retry-After` says. Every answer is compared with what the model
makes of the image in this process. Service and clients share the cores of this machine.
"""

import argparse
import asyncio
import hashlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import numpy as np
from PIL import Image

PROGRAM = "from hemabridge.cli import main; main()"
KINDS = ("neutrophil", "lymphocyte")


@dataclass
class Timings:
    """Seconds of each answer, statuses, and images whose answer was wrong."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    images: int = 0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=200, help="of all clients together")
    parser.add_argument("--images", type=int, default=1, help="in each request")
    parser.add_argument("--size-px", type=int, default=360)
    spec = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, sent, expected = prepared(Path(folder), spec.images, spec.size_px)
        server, address = start(model)
        try:
            began = time.perf_counter()
            timings = asyncio.run(ask_all(address, spec.clients, spec.requests, sent, expected))
            took = time.perf_counter() - began
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate()
    answered = len(timings.seconds)
    taken = sorted(1000 * seconds for seconds in timings.seconds)
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n")
    print(
        f"{spec.clients} clients, {spec.requests} requests of {spec.images} PNG of {spec.size_px} px: "
        f"{answered / took:.1f} answers and {timings.images / took:.1f} images a second; "
        f"{timings.statuses[429]} times 429; lost: {spec.requests - answered}; wrong images: {timings.wrong}; "
        f"other statuses: {sorted(timings.statuses.keys() - {200, 429})}\n"
    )
    print("| n | median | 95th percentile | slowest |\n| ---: | ---: | ---: | ---: |")
    print(f"| {answered} | {median(taken):.0f} ms | {taken[int(0.95 * len(taken))]:.0f} ms | {taken[-1]:.0f} ms |")


def prepared(folder: Path, images: int, size_px: int) -> tuple[Path, list[tuple[str, bytes]], list[str]]:
    """Write a normalizer; return it, images, and the SHA-256 of the pixels that it makes of each."""
    from hemabridge.data.simulate import HOSPITALS, simulate_cells
    from hemabridge.models import open_model
    from hemabridge.normalizers.images import fit_normalizer

    theirs, ours = (simulate_cells(KINDS, 4, HOSPITALS[name], 3, 96)[0] for name in ("yellow-field", "clinic-like"))
    path = folder / "linear-ot.json"
    path.write_text(fit_normalizer("linear-ot", theirs, ours).to_json(), encoding="utf-8")
    cells, _ = simulate_cells(KINDS, -(-images // 2), HOSPITALS["yellow-field"], 4, size_px)
    sent = [(f"{number}.png", png_of(cell)) for number, cell in enumerate(cells[:images])]
    made = open_model(path).standardize(cells[:images])
    return path, sent, [hashlib.sha256(image.tobytes()).hexdigest() for image in made]


def png_of(image: Any) -> bytes:
    """Return the bytes of a PNG file."""
    out = BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def start(model: Path) -> "tuple[subprocess.Popen[str], str]":
    """Start the service and wait until it listens; return its address, too."""
    command = [sys.executable, "-c", PROGRAM, "serve", str(model), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line.startswith("Listening on "):
        raise SystemExit("the service does not listen")
    return server, line.removeprefix("Listening on ").partition(". ")[0]


async def ask_all(
    address: str, clients: int, requests: int, sent: list[tuple[str, bytes]], expected: list[str]
) -> Timings:
    """Let all clients ask at once."""
    timings, left = Timings(), iter(range(requests))

    async def client() -> None:
        async with httpx2.AsyncClient(timeout=120) as opened:
            for _ in left:
                await ask(opened, address, sent, expected, timings)

    await asyncio.gather(*(client() for _ in range(clients)))
    return timings


async def ask(
    client: httpx2.AsyncClient, address: str, sent: list[tuple[str, bytes]], expected: list[str], timings: Timings
) -> None:
    """Send one request until it is answered, and compare the answer."""
    import base64

    began = time.perf_counter()
    while True:
        files = [("images", (name, content, "image/png")) for name, content in sent]
        response = await client.post(f"{address}/v1/standardize", files=files)
        timings.statuses[response.status_code] += 1
        if response.status_code != 429:
            break
        await asyncio.sleep(float(response.headers["retry-after"]))
    if response.status_code == 200:
        timings.seconds.append(time.perf_counter() - began)
        for image, digest in zip(response.json()["images"], expected, strict=True):
            pixels = np.asarray(Image.open(BytesIO(base64.b64decode(image["image"]))))
            timings.images += 1
            timings.wrong += hashlib.sha256(pixels.tobytes()).hexdigest() != digest


if __name__ == "__main__":
    main()
