"""An unexpected error of a page is written into the log of the server once."""

import subprocess
import sys
import urllib.error
import urllib.request

import pytest

FAILING = """
from hemabridge.review.pages import static_files
from hemabridge.review.reading_app import bare_app
from hemabridge.workflows.review.serve import serve_app

async def fail(kind: str) -> None:
    raise {"runtime": RuntimeError, "system": OSError}[kind]("what went wrong")

app = bare_app(static_files(), lambda token, what: f"page {what}")
app.add_api_route("/{kind}", fail, methods=["GET"], response_model=None)
serve_app(app, "127.0.0.1", 0, lambda address: print(address, flush=True))
"""


@pytest.mark.parametrize("kind", ["runtime", "system"])
def test_an_unexpected_error_is_logged_once(kind: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FAILING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    with pytest.raises(urllib.error.HTTPError, match="500"):
        urllib.request.urlopen(f"{address}/{kind}", timeout=60)
    process.terminate()
    _, logged = process.communicate(timeout=60)
    assert logged.count("Traceback") == logged.count(": what went wrong") == 1
