"""`status` and `alarms` as commands, where no node runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.bus.settings import ROOT
from tests.fixtures_mosquitto import free_ports


def status(*arguments: str, **variables: str) -> str:
    """Run it; returns its one line of error."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EMBERWATCH_")} | variables
    command = [sys.executable, "-m", "services", "status", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    return next(line for line in done.stderr.splitlines() if line.startswith("status: "))


@pytest.mark.parametrize("told_by", ["settings", "up", "--port"])
def test_a_broker_that_does_not_answer_is_named_with_where_its_address_comes_from(tmp_path: Path, told_by: str) -> None:
    (port,) = free_ports(1)
    data, variables, arguments = tmp_path / "data", {}, []
    why = f"settings; no `up` has used --data {data}"
    if told_by == "settings":
        variables["EMBERWATCH_BROKER_PORT"] = str(port)
    elif told_by == "up":
        data.mkdir()
        (data / "up.yaml").write_text(f"{{node: pi, broker_port: {port}}}")
        why = f"{data / 'up.yaml'}; is `up` still running?"
    else:
        arguments, why = ["--port", str(port)], "--port"
    line = status("--data", str(data), *arguments, **variables)
    assert line == f"status: no broker answers at 127.0.0.1:{port} ({why})"
