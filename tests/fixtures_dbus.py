"""Fixture `dbus`: a message bus of the test's own, on a real dbus-daemon."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default">
<allow user="*"/><allow own="*"/><allow send_destination="*"/><allow eavesdrop="true"/>
</policy></busconfig>"""


@pytest.fixture
def dbus_daemon(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Address of a message bus that ends with the test, and its process."""
    daemon = shutil.which("dbus-daemon")
    if daemon is None:
        pytest.skip("needs dbus-daemon (apt-get install dbus-daemon)")
    (tmp_path / "dbus.conf").write_text(CONFIGURATION.format(path=tmp_path / "bus"))
    arguments = [daemon, f"--config-file={tmp_path / 'dbus.conf'}", "--nofork", "--print-address=1"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
        process.terminate()
        process.wait(10)


@pytest.fixture
def dbus(dbus_daemon: tuple[str, subprocess.Popen[str]]) -> str:
    """Address of a message bus that ends with the test."""
    return dbus_daemon[0]
