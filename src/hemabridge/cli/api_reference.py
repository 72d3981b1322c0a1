"""The page of the Python API in Markdown, from the docstrings: `python -m hemabridge.cli.api_reference`."""

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import hemabridge

HEAD: Final = """# Python API

All public names of `import hemabridge as hb`, from their docstrings. This page is written by

```sh
python -m hemabridge.cli.api_reference > docs/api.md
```

Three scripts in notebook style, which run as they are:

- `examples/restain_a_folder.py` re-stains a folder of images;
- `examples/normalizer_in_a_dataloader.py` re-stains in the workers of a PyTorch DataLoader;
- `examples/read_a_study.py` reads the results of a study as a table.
"""

_DESCRIPTORS: Final = (property, cached_property, classmethod)
_SECTION: Final = re.compile(r"^(Args|Attributes|Returns|Raises|Example):$")
_ITEM: Final = re.compile(r"^(\w+(?:, \w+)*): (.*)$")


def api_reference() -> str:
    """Return the page."""
    names = [name for name in hemabridge.__all__ if not name.startswith("_")]
    intro = "\n".join(_markdown(inspect.getdoc(hemabridge) or ""))
    return "\n".join([HEAD, intro, "", *(line for name in names for line in _entry(name))])


def _entry(name: str) -> Iterator[str]:
    thing = getattr(hemabridge, name)
    yield from (f"## {name}", "")
    if inspect.isclass(thing):
        if not issubclass(thing, Exception) and not inspect.isabstract(thing):
            yield from _signature(f"class {name}", thing)
        yield from _markdown(inspect.getdoc(thing) or "")
        for method, value in _methods(thing):
            yield from ("", f"### {name}.{method}", "")
            if not isinstance(value, property | cached_property):
                yield from _signature(method, getattr(thing, method))
            yield from _markdown(inspect.getdoc(value) or "")
    else:
        yield from _signature(name, thing)
        yield from _markdown(inspect.getdoc(thing) or "")
    yield ""


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the documented public methods and properties of a class and of its parents in hemabridge, by name."""
    own = [parent for parent in kind.mro() if parent.__module__.startswith("hemabridge.")]
    found = {name: value for parent in reversed(own) for name, value in vars(parent).items()}
    for name, value in sorted(found.items()):
        shown = not name.startswith("_") or name == "__call__"
        if shown and (callable(value) or isinstance(value, _DESCRIPTORS)) and inspect.getdoc(value):
            yield name, value


def _signature(name: str, thing: Any) -> Iterator[str]:
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(thing).parameters.values()
        if parameter.name not in ("self", "cls")
    ]
    text = str(inspect.Signature(parameters))
    yield from ("```text", f"{name}{text}", "```", "")  # not `python`: formatters would change the signature


def _markdown(docstring: str) -> Iterator[str]:
    """Turn a docstring in Google's style to Markdown: sections in bold, their items as lists, examples as code."""
    section, lines = "", docstring.splitlines()
    for number, line in enumerate(lines):
        heading = _SECTION.match(line)
        if heading:
            section = heading[1]
            yield from (f"**{section}**", "")
            if section == "Example":
                yield "```python"
        elif section and line.strip():
            inner = line.removeprefix("    ")
            item = _ITEM.match(inner) if section not in ("Example", "Returns") else None
            yield f"- `{item[1]}`: {item[2]}" if item else inner if section == "Example" else f"{inner}"
        else:
            yield line
        ends = number + 1 == len(lines) or _SECTION.match(lines[number + 1])
        if section == "Example" and ends:
            yield "```"


if __name__ == "__main__":
    print(api_reference(), end="")
