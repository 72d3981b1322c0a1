"""The reference of all commands in Markdown, with the content of `--help`: `python -m hemabridge.cli.reference`."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from hemabridge.cli.app import ORDER, app
from hemabridge.cli.exit_codes import tables

HEAD = f"""# Commands

The help of all commands (`hemabridge COMMAND --help`) on one page. It is written by

```sh
python -m hemabridge.cli.reference > docs/cli.md
```

## Exit codes

{tables()}
"""


@dataclass(frozen=True)
class _Parameter:
    name: str
    kind: Any
    default: Any
    info: ArgumentInfo | OptionInfo

    @property
    def is_option(self) -> bool:
        return isinstance(self.info, OptionInfo)

    @property
    def is_required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def written(self) -> str:
        """The parameter as a user types it."""
        if not self.is_option:
            return self.info.metavar or self.name.upper()
        # The name of an `Annotated` option is stored in the field `default`.
        called = [name for name in (self.info.default, *(self.info.param_decls or ())) if str(name).startswith("--")]
        option = str(called[0]) if called else "--" + self.name.replace("_", "-")
        return option if self.kind is bool else f"{option} {option.strip('-').replace('-', '_').upper()}"

    def facts(self) -> Iterator[str]:
        """Yield the permitted values, and the default."""
        if self.is_option and self.is_required:
            yield "required"
        if get_origin(self.kind) is Literal:
            yield f"one of {', '.join(get_args(self.kind))}"
        if self.info.min is not None:
            yield f"at least {self.info.min}"
        if self.info.max is not None:
            yield f"at most {self.info.max}"
        if not self.is_required and self.default is not None and self.kind is not bool:
            yield f"default: {self.default}"


def reference() -> str:
    """Return the page, in the order of `--help`. It does not depend on a terminal."""
    places = list(ORDER)
    alone = sorted(
        ((command.callback, "") for command in app.registered_commands if command.callback is not None),
        key=lambda each: places.index(each[0].__name__.replace("_", "-")),
    )
    grouped = [
        (command.callback, f"{group.name} ")
        for group in app.registered_groups
        if group.typer_instance is not None
        for command in group.typer_instance.registered_commands
    ]
    return "\n".join([HEAD, *(_section(command, group) for command, group in alone + grouped if command is not None)])


def _section(command: Callable[..., Any], group: str) -> str:
    parameters = list(_parameters(command))
    arguments = [p.written for p in parameters if not p.is_option]
    required = [p.written for p in parameters if p.is_option and p.is_required]
    optional = ["[OPTIONS]"] if any(not p.is_required for p in parameters) else []
    name = group + command.__name__.replace("_", "-")
    lines = [f"## {name}", "", f"`{' '.join(['hemabridge', name, *arguments, *required, *optional])}`", ""]
    lines += [f"{inspect.getdoc(command)}", "", "| argument or option | meaning |", "| --- | --- |"]
    return "\n".join([*lines, *map(_row, parameters), ""])


def _parameters(command: Callable[..., Any]) -> Iterator[_Parameter]:
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        kind, info = get_args(hints[name])
        yield _Parameter(name, kind, parameter.default, info)


def _row(parameter: _Parameter) -> str:
    facts = "; ".join(parameter.facts())
    return f"| `{parameter.written}` | {parameter.info.help}{f' [{facts}]' if facts else ''} |"


if __name__ == "__main__":
    print(reference(), end="")
