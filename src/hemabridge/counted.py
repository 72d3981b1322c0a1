"""A number with the word for what was counted."""


def counted(count: int, one: str, more: str = "") -> str:
    """Return a number with its word, in the singular for 1.

    Args:
        count: 0 or more.
        one: the word for one of them.
        more: the word for several; empty: `one` with an s.

    Example:
        >>> counted(1, "image"), counted(1200, "image"), counted(2, "class", "classes")
        ('1 image', '1,200 images', '2 classes')
    """
    return f"{count:,} {one if count == 1 else more or one + 's'}"
