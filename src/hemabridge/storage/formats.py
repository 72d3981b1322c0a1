"""The version of a file's format: which ones are read, and what a message says of another one."""

from collections.abc import Mapping


def check_format(found: object, newest: int, what: str, again: str, error: type[Exception]) -> None:
    """Refuse a file of another format than `newest`; what a file without a version means, its reader decides before.

    Args:
        found: the value of the key `format`.
        newest: the version that is written.
        what: what a message calls the file.
        again: how to make the file again.
        error: what is raised.

    Raises:
        Exception: `error`, since it is another version; the message says what to do.
    """
    if type(found) is int and found == newest:
        return
    if type(found) is int and found > newest:
        raise error(
            f"expected {what} of format {newest}, got {found}, which a newer hemabridge wrote; update hemabridge, or "
            f"{again}"
        )
    raise error(f"expected {what} of format {newest}, got {found!r}; {again}")


def with_format(data: object, newest: int, what: str, again: str) -> object:
    """Check the version of a table before a model reads the rest of it; for validators that run before.

    Format 1 said `version = 1`, and held what format 2 holds. A table without either is of the newest format.

    Raises:
        ValueError: it is of a format that is not read.
    """
    if not isinstance(data, Mapping):
        return data
    table = dict(data)
    if "format" not in table and table.get("version") == 1:
        del table["version"]
    check_format(table.setdefault("format", newest), newest, what, again, ValueError)
    return table
