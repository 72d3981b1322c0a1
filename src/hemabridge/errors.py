"""Every error that hemabridge raises on purpose.

The tree::

    HemabridgeError
    ├── InputError                 something handed in is not what was expected: exit code 2
    │   ├── ImageError             one image cannot be used (unreadable, truncated, too large)
    │   ├── ManifestError          a manifest or a folder of images
    │   ├── SplitError             a split would leak or cannot be made
    │   ├── RecipeError            a recipe: unknown key, wrong value
    │   └── ModelError             a snapshot, a weights file, an external classifier
    ├── RunError                   a run folder: in use, of another recipe, damaged
    ├── TrainingError              training cannot continue
    │   ├── NonFiniteLossError     a loss became NaN or infinite
    │   └── TrainingFaultError     a known fault of training, such as a collapsed generator
    ├── Interrupted                stopped by SIGINT or SIGTERM after a checkpoint was written
    └── MissingExtraError          a feature needs an extra that is not installed

A message states what was expected, what was got, where, and what to do. `TrainingFaultWarning` is a warning
and not in the tree: a fault of training is likely, and training continues.
"""


class HemabridgeError(Exception):
    """Root of all errors that hemabridge raises on purpose. `exit_code` is what the command line returns for it.

    Example:
        >>> import hemabridge as hb
        >>> try:
        ...     hb.read_image("no-such-file.png")
        ... except hb.HemabridgeError as error:
        ...     print(type(error).__name__, error.exit_code)
        ImageError 2
    """

    exit_code = 1


class InputError(HemabridgeError):
    """Something handed in is not what was expected."""

    exit_code = 2


class ImageError(InputError):
    """One image cannot be used."""


class ManifestError(InputError):
    """A manifest, or a folder of images, cannot be used."""


class SplitError(InputError):
    """A split would leak between its parts, or cannot be made."""


class RecipeError(InputError):
    """A recipe cannot be used."""


class ModelError(InputError):
    """A snapshot, a weights file or an external classifier cannot be used."""


class RunError(HemabridgeError):
    """A run folder is in use, belongs to another recipe, or is damaged."""

    exit_code = 2


class TrainingError(HemabridgeError):
    """Training cannot continue."""


class NonFiniteLossError(TrainingError):
    """A loss became NaN or infinite; nothing was updated."""


class TrainingFaultError(TrainingError):
    """A known fault of training was found; the message describes it."""


class TrainingFaultWarning(UserWarning):
    """A fault of training is likely; training continues."""


class Interrupted(HemabridgeError):  # noqa: N818 - it is a request, not a fault
    """Stopped by a signal after a checkpoint was written; the same command resumes."""

    exit_code = 130


class MissingExtraError(HemabridgeError):
    """A feature needs an optional part of hemabridge that is not installed."""

    exit_code = 2
