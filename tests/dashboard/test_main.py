"""The process: serves the page, refuses a wrong setting, ends on SIGTERM."""

import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.dashboard.conftest import until
from tests.fixtures_mosquitto import free_ports


def start(folder: Path, **environment: str) -> subprocess.Popen[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EMBERWATCH_")}
    variables = clean | {"EMBERWATCH_DATA_DIR": str(folder)} | environment
    return subprocess.Popen(
        [sys.executable, "-m", "services.dashboard"], env=variables, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip


def test_it_serves_and_ends_when_asked(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    with start(tmp_path, EMBERWATCH_HTTP_PORT=str(port)) as process:

        def healthy() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/_stcore/health").text == "ok"
            except httpx.TransportError:
                assert process.poll() is None
                return False

        until(healthy, 40.0)
        assert "<title>" in httpx.get(f"http://127.0.0.1:{port}/").text
        process.terminate()
        assert process.wait(20) == 0


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    with start(tmp_path, EMBERWATCH_API_URL="localhost:8000") as process:
        assert process.wait(20) == 2
        assert process.stderr is not None
        said = process.stderr.read()
    assert (
        said == "dashboard: EMBERWATCH_API_URL: api_url: Value error, expected http://host:port or https://host:port\n"
    )
