"""Who we are on disk: an installation id a data folder, and one process a folder and service."""

import fcntl
import logging
import os
from pathlib import Path

from services.bus.errors import JournalError
from services.bus.messages import new_boot

log = logging.getLogger(__name__)


def installation_id(data_dir: Path) -> str | None:
    """The id drawn when the folder was first used; None when it cannot be kept (each service would show another).

    Two nodes with one name show two ids (a cloned card shows one, but takes over the other's sessions).
    """
    path = data_dir / "installation"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists() or not path.read_text().strip():  # a power cut can leave it empty
            path.unlink(missing_ok=True)
            draft = path.with_name(f"installation.{os.getpid()}")
            draft.write_text(new_boot())
            try:
                os.link(draft, path)  # the first of several starting services wins
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_text().strip() or None
    except OSError as error:
        log.error("%s: %s; no installation id: a second node of this name is not noticed", path, error.strerror)
        return None


class FolderLock:
    """Held while a service uses its folder; released by the system when the process ends, however it ends.

    Raises:
        JournalError: another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        self._file = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise JournalError(f"{path}: another process uses this data folder") from None

    def release(self) -> None:
        os.close(self._file)
