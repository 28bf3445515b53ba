"""Where the parts of the virtual Pi are kept between runs, and why there may be none."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


class NoRig(Exception):
    """The virtual Pi cannot be had on this machine; the text says what is missing and how to get it."""


def folder() -> Path:
    """$EMBERWATCH_RIG_CACHE, else ~/.cache/emberwatch/virtual-pi of the user, also when he builds by sudo."""
    named = os.environ.get("EMBERWATCH_RIG_CACHE")
    home = Path(f"~{os.environ.get('SUDO_USER', '')}").expanduser()
    return Path(named) if named else home / ".cache" / "emberwatch" / "virtual-pi"


def make_folder() -> None:
    """What sudo makes belongs to the user who called it: he adds to it later. Raises OSError."""
    made = [place for place in (folder(), *folder().parents) if not place.exists()]
    folder().mkdir(parents=True, exist_ok=True)
    lock_file().touch()
    if os.geteuid() == 0 and "SUDO_UID" in os.environ:
        for place in [*made, lock_file()]:
            os.chown(place, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))


def lock_file() -> Path:
    return folder() / "lock"


def entry(kind: str, made_of: object) -> Path:
    """The folder of what is made of exactly this (JSON-able)."""
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    return folder() / f"{kind}-{digest[:16]}"


@contextmanager
def lock() -> Iterator[None]:
    """One builder at a time; a second one waits and then finds the work done. Raises NoRig."""
    try:
        make_folder()
        file = lock_file().open("w")
    except OSError as error:
        raise NoRig(f"the cache cannot be written: {error}; EMBERWATCH_RIG_CACHE names another folder") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A folder to build in; it becomes `target` when the block ends well, and others of its kind are removed."""
    with TemporaryDirectory(prefix="building-", dir=target.parent, ignore_cleanup_errors=True) as place:
        made = Path(place) / "made"
        made.mkdir()
        yield made
        made.rename(target)
    for other in target.parent.glob(f"{target.name.split('-')[0]}-*"):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)
