"""Installation id and the lock on a folder."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.bus.errors import JournalError
from services.bus.installation import FolderLock, installation_id


def test_an_installation_id_is_drawn_once(tmp_path: Path) -> None:
    first = installation_id(tmp_path / "data")
    assert len(first or "") == 16
    assert installation_id(tmp_path / "data") == first
    assert installation_id(tmp_path / "other") != first
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["installation"]


def test_services_that_start_at_once_share_one_id(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from services.bus.installation import installation_id as i; "
    command = [sys.executable, "-c", code + "print(i(Path(sys.argv[1])))", str(tmp_path)]
    with ThreadPoolExecutor(3) as pool:
        ids = set(pool.map(lambda _: subprocess.check_output(command, text=True), range(3)))
    assert len(ids) == 1


def test_an_id_file_that_a_power_cut_left_empty_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "installation").touch()
    first = installation_id(tmp_path)
    assert len(first or "") == 16
    assert installation_id(tmp_path) == first


def test_an_id_that_cannot_be_kept_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each service would draw its own, and the server take them for several installations."""
    (tmp_path / "file").touch()
    assert [installation_id(tmp_path / "file" / "data") for _ in range(3)] == [None] * 3
    assert "no installation id" in caplog.text


def test_the_services_of_a_read_only_folder_have_the_id_that_stands_in_it(tmp_path: Path) -> None:
    (tmp_path / "installation").write_text("e5d04b7a92c3f118\n")
    tmp_path.chmod(0o555)
    assert installation_id(tmp_path) == "e5d04b7a92c3f118"


def test_a_folder_has_one_user_until_he_releases_it(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(JournalError, match="another process uses this data folder"):
        FolderLock(tmp_path)
    lock.release()
    FolderLock(tmp_path).release()
