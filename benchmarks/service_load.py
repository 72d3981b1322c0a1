"""Several programs at once on `hemabridge serve` over loopback: answers a second, requests sent away, and none lost.

    python benchmarks/service_load.py                as many clients as the service takes requests
    python benchmarks/service_load.py --clients 32   four times as many: some are sent away, and come again

`/v1/standardize` is asked of a normalizer that was fitted on simulated cells, `/v1/classify` and `/v1/differential` of
a bundle with the network of `hemabridge adapt` and random weights. Each client sends a request with one image, or
several, and waits for the answer; with status 429 it waits as long as `Retry-After` says. Every answer is compared with
that of the same models in this process. Service and clients share the cores of this machine. Needs the extra `train`.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
from PIL import Image

from hemabridge.data.simulate import CLASSES, HOSPITALS, FieldSpec, simulate_cells
from hemabridge.imaging.files import write_image
from hemabridge.normalizers.images import fit_normalizer
from hemabridge.progress import silent
from hemabridge.service.sent import Sent
from hemabridge.workflows.adapt.config import ARCHITECTURE, CELL_PX
from hemabridge.workflows.export.export import export
from hemabridge.workflows.serve import served_of
from hemabridge.workflows.simulate.whole_fields import simulate_fields

PROGRAM = "from hemabridge.cli import main; main()"
KINDS = ("neutrophil", "lymphocyte")
FEWER = 8
"""A field has more work than a cell; so many times fewer requests are sent."""


@dataclass
class Timings:
    """Seconds of each answer, statuses, and answers that were wrong."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0


@dataclass(frozen=True)
class Load:
    """What is asked of a service.

    Attributes:
        operation: the last part of the path.
        model: what is served.
        sent: the images of each request.
        requests: number of requests of all clients together.
    """

    operation: str
    model: Path
    sent: Sequence[Sent]
    requests: int

    def expected(self) -> Any:
        """Return what this process answers."""
        work = next(one for one in served_of(self.model).operations if one.name == self.operation)
        return json.loads(work.work(self.sent, work.settings(), silent).model_dump_json())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument(
        "--requests", type=int, default=200, help=f"of all clients together; of fields {FEWER} times fewer"
    )
    parser.add_argument("--images", type=int, default=1, help="in each request")
    spec = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    print(f"{spec.clients} clients, each request with {spec.images} PNG\n")
    print("| path | image | answers | a second | median | 95th percentile | slowest | 429 | lost | wrong |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for load in loads(Path(folder), spec.images, spec.requests):
            print(measured(load, spec.clients), flush=True)


def measured(load: Load, clients: int) -> str:
    """Start a service, ask it, and return a row of the table."""
    expected = load.expected()
    server, address = start(load.model)
    try:
        began = time.perf_counter()
        timings = asyncio.run(ask_all(f"{address}/v1/{load.operation}", clients, load, expected))
        took = time.perf_counter() - began
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate()
    answered = len(timings.seconds)
    unknown = sorted(timings.statuses.keys() - {200, 429})
    if unknown or not answered:
        raise SystemExit(f"expected status 200 or 429, got {unknown}")
    ordered = sorted(timings.seconds)
    seconds = [median(ordered), ordered[int(0.95 * answered)], ordered[-1]]
    width, height = Image.open(BytesIO(load.sent[0].content)).size
    times = " | ".join(f"{value:.2f} s" for value in seconds)
    return (
        f"| `/v1/{load.operation}` | {width} x {height} px | {answered} | {answered / took:.1f} | {times} | "
        f"{timings.statuses[429]} | {load.requests - answered} | {timings.wrong} |"
    )


def loads(folder: Path, images: int, requests: int) -> list[Load]:
    """Write the models; return what is asked of each operation."""
    theirs, ours = (simulate_cells(KINDS, 4, HOSPITALS[name], 3, 96)[0] for name in ("yellow-field", "clinic-like"))
    normalizer = folder / "linear-ot.json"
    normalizer.write_text(fit_normalizer("linear-ot", theirs, ours).to_json(), encoding="utf-8")
    cells = simulate_cells(KINDS, -(-images // 2), HOSPITALS["yellow-field"], 4, 360)[0][:images]
    sent = [Sent(f"{number}.png", png_of(cell)) for number, cell in enumerate(cells)]
    spec = FieldSpec(seed=7, width_px=1280, height_px=960, um_per_px=0.12, leukocytes=5.0, areas=("monolayer",))
    simulate_fields(folder / "fields", images, spec, hospitals=("clinic-like",))
    found = sorted((folder / "fields" / "clinic-like").rglob("*.png"))[:images]
    fields = [Sent(path.name, path.read_bytes()) for path in found]
    for number, cell in enumerate(theirs):
        write_image(folder / "cells" / f"{number}.png", cell)
    bundle = bundle_of(folder)
    return [
        Load("standardize", normalizer, sent, requests),
        Load("classify", bundle, sent, requests),
        Load("differential", bundle, fields, -(-requests // FEWER)),
    ]


def bundle_of(folder: Path) -> Path:
    """Write a classifier with random weights, and its bundle."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = timm.create_model(ARCHITECTURE, num_classes=len(CLASSES))
    save_file(network.state_dict(), folder / "network.safetensors")
    classes = ", ".join(f'"{name}"' for name in CLASSES)
    size = f"[preprocessing]\nsize_px = {CELL_PX}\n"
    text = f'file = "network.safetensors"\narchitecture = "{ARCHITECTURE}"\nclasses = [{classes}]\n{size}'
    (folder / "classifier.toml").write_text(text, encoding="utf-8")
    return export(folder / "classifier.toml", folder / "model", images=folder / "cells").path


def png_of(image: Any) -> bytes:
    """Return the bytes of a PNG file."""
    out = BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def start(model: Path) -> "tuple[subprocess.Popen[str], str]":
    """Start the service and wait until it listens; return its address, too."""
    command = [sys.executable, "-c", PROGRAM, "serve", str(model), "--port", "0", "--timeout", "600"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line.startswith("Listening on "):
        raise SystemExit("the service does not listen")
    return server, line.removeprefix("Listening on ").partition(". ")[0]


async def ask_all(url: str, clients: int, load: Load, expected: Any) -> Timings:
    """Let all clients ask at once."""
    timings, left = Timings(), iter(range(load.requests))

    async def client() -> None:
        async with httpx2.AsyncClient(timeout=600) as opened:
            for _ in left:
                await ask(opened, url, load.sent, expected, timings)

    await asyncio.gather(*(client() for _ in range(clients)))
    return timings


async def ask(client: httpx2.AsyncClient, url: str, sent: Sequence[Sent], expected: Any, timings: Timings) -> None:
    """Send one request until it is answered, and compare the answer."""
    began = time.perf_counter()
    files = [("images", (image.name, image.content, "image/png")) for image in sent]
    while True:
        response = await client.post(url, files=files)
        timings.statuses[response.status_code] += 1
        if response.status_code != 429:
            break
        await asyncio.sleep(float(response.headers["retry-after"]))
    if response.status_code == 200:
        timings.seconds.append(time.perf_counter() - began)
        timings.wrong += response.json() != expected


if __name__ == "__main__":
    main()
