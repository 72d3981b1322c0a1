"""The exit codes of all commands, as the reference of the commands and `--help` state them."""

from typing import Final

EXIT_CODES: Final = {
    0: "done",
    1: "done with something to look at (next table), or a training cannot go on, or another error that is named",
    2: "refused: an argument, a file, a folder or a model cannot be used; what is wrong is named",
    3: "`audit --strict` finds an error in the images",
    130: "stopped by Ctrl-C or SIGTERM; the same command continues",
}
"""The meaning of each code."""

WITH_ONE: Final = {
    "run": "an image failed, or classes are withheld",
    "verify": "a test cell gives another result than where the bundle was made",
    "watch": "with `--once`: a batch was held or flagged, or an image went into quarantine",
    "find": "a field cannot be read, or its scale is unknown",
    "index": "a file cannot be read",
    "audit": "more than half of the images cannot be used",
    "standardize": "an image failed",
    "drift": "the chart alarms",
    "evaluate": "an image failed, or classes are withheld",
    "classify": "an image failed, or classes are withheld",
    "differential": "the count must not be trusted",
    "select": "no snapshot can be used",
}
"""When a command that is done ends with 1; all others end with 0 then."""

IN_SHORT: Final = (
    "Exit codes: 0 done; 1 done, with something to look at, or failed; 2 refused; 130 stopped. All: docs/cli.md"
)
"""The line below the list of commands."""


def tables() -> str:
    """Return both tables in Markdown."""
    codes = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    ones = [f"| `{name}` | {when} |" for name, when in WITH_ONE.items()]
    return "\n".join(
        ["| exit code | meaning |", "| --- | --- |", *codes, "", "| command | ends with 1 if |", "| --- | --- |", *ones]
    )
