"""The command line: each command parses its arguments, calls one workflow, and prints the result.

PyTorch is imported only by the commands that need it, and only when they run.
"""

from hemabridge.cli import adapting as _adapting  # noqa: F401 - adds its commands
from hemabridge.cli import applying as _applying  # noqa: F401 - adds its commands
from hemabridge.cli import data as _data  # noqa: F401 - adds its commands
from hemabridge.cli import exporting as _exporting  # noqa: F401 - adds its commands
from hemabridge.cli import fields as _fields  # noqa: F401 - adds its command
from hemabridge.cli import labeling as _labeling  # noqa: F401 - adds its command
from hemabridge.cli import restaining as _restaining  # noqa: F401 - adds its commands
from hemabridge.cli import reviewing as _reviewing  # noqa: F401 - adds its commands
from hemabridge.cli import serving as _serving  # noqa: F401 - adds its command
from hemabridge.cli import simulating as _simulating  # noqa: F401 - adds its commands
from hemabridge.cli import synthesis as _synthesis  # noqa: F401 - adds its command
from hemabridge.cli import training as _training  # noqa: F401 - adds its commands
from hemabridge.cli import watching as _watching  # noqa: F401 - adds its commands
from hemabridge.cli.app import main

__all__ = ["main"]
