"""What the commands with a page in a browser need, and say when it is there."""

from collections.abc import Callable
from importlib.util import find_spec

from hemabridge.errors import MissingExtraError


def needs_web_server(what: str = "this command", instead: str = "") -> None:
    """Check that a web server is installed.

    Args:
        what: needs it.
        instead: what else can be done, at the end of the message.

    Raises:
        MissingExtraError: it is not; the message states what to install.
    """
    if any(find_spec(name) is None for name in ("fastapi", "uvicorn")):
        raise MissingExtraError(f"{what} needs a web server: pip install 'hemabridge[review]'{instead}")


def page_of_this_computer(task: str, language: str, instead: str = "") -> Callable[[str], None]:
    """Check that a page can be served in a language; return what prints its address once it is.

    Args:
        task: what is done on the page, such as `Label the cells`.
        language: of the page.
        instead: what else can be done, if no web server is installed.

    Raises:
        MissingExtraError: no web server is installed.
        InputError: there is no such language.
    """
    needs_web_server("the page", instead)
    from hemabridge.evaluation.languages import check_language

    check_language(language)

    def ready(address: str) -> None:
        print(f"{task} at {address}", flush=True)
        print("This computer alone can open it. Ctrl+C stops; nothing is lost.", flush=True)

    return ready
