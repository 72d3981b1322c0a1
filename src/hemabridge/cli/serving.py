"""The command serve: a model as a service over HTTP. It needs no PyTorch for a bundle."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from hemabridge.cli.app import app
from hemabridge.cli.web_pages import needs_web_server
from hemabridge.errors import InputError

TOKEN: Final = "HEMABRIDGE_TOKEN"
"""Environment variable with the token."""


@app.command()
def serve(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A bundle, the run folder of `adapt`, or any model that re-stains or classifies.",
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that other computers reach needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8322,
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"File with the token that requests must state [default: the variable {TOKEN}]."),
    ] = None,
    crop_px: Annotated[
        int | None, typer.Option(min=8, help="Square around a cell in new images [default: as in training].")
    ] = None,
    max_mb: Annotated[int, typer.Option(min=1, max=2048, help="Largest request, in megabytes.")] = 64,
    max_images: Annotated[int, typer.Option(min=1, max=10_000, help="Most images in a request.")] = 500,
    max_requests: Annotated[
        int, typer.Option(min=1, max=1000, help="Most requests in the service; the next one gets status 429.")
    ] = 8,
    timeout: Annotated[float, typer.Option(min=0.1, help="Longest time for an answer, in seconds.")] = 120.0,
) -> None:
    """Serve a model over HTTP until Ctrl+C: re-staining, classes and counts as the commands give them, and a page.

    Images are kept in memory alone; nothing is written, and no name of a file is logged.
    """
    needs_web_server()
    from hemabridge.review.security import is_loopback
    from hemabridge.service.service_app import Limits
    from hemabridge.workflows.serve import serve as run

    if not is_loopback(host):
        print(
            f"hemabridge: warning: {host} can be reached from other computers, and images and token travel "
            "unencrypted: use it behind a proxy with TLS, or in a network that you trust",
            file=sys.stderr,
        )

    def ready(address: str) -> None:
        print(f"Listening on {address}. A page for images is there, and /openapi.json. Ctrl+C stops.", flush=True)

    run(
        model,
        crop_px=crop_px,
        host=host,
        port=port,
        token=_token(token_file),
        limits=Limits(max_mb * 2**20, max_images, max_requests, timeout),
        ready=ready,
    )


def _token(file: Path | None) -> str:
    if file is None:
        return os.environ.get(TOKEN, "").strip()
    from hemabridge.storage.file_kind import FileKind

    kind = FileKind("a file with the token", InputError, "state one, or none", largest_bytes=10_000)
    token = kind.read_text(file).strip()
    if not token:
        raise InputError(f"expected a file with the token, got an empty one: {file}; openssl rand -hex 32 > {file}")
    return token
