"""Commands as an ordinary user, for root may read and write everything."""

import os
import tempfile
from pathlib import Path
from typing import Final

NOBODY: Final = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
"""Stands before the command."""


def let_in(folder: Path) -> None:
    """Open the folder and pytest's private ones above it (one more of them where workers share the tests)."""
    top = Path(tempfile.gettempdir()).resolve()
    for one in (folder.resolve(), *folder.resolve().parents):
        if one == top or not one.is_relative_to(top):
            return
        one.chmod(0o755)
