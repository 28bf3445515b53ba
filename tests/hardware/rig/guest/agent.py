#!/usr/bin/python3
"""In the guest: runs what the host asks for on the virtio serial port `agent`. Standard library only.

One JSON object a line. Request: id, command (for bash), input, timeout_s. Reply: id, code (-1: timed out), out, err.
Requests run side by side; replies come as each ends.
"""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

PORTS = Path("/sys/class/virtio-ports")
ENVIRONMENT = {
    "PATH": "/opt/emberwatch/bin:/opt/edge/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONPATH": "/opt/emberwatch:/opt/edge",
    "PYTHONUNBUFFERED": "1",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
answering = threading.Lock()


def port(name: str) -> Path:
    for place in PORTS.iterdir():
        if (place / "name").read_text().strip() == name:
            return Path("/dev") / place.name
    raise SystemExit(f"no virtio port named {name}")


def run(request: dict[str, str], link: BinaryIO) -> None:
    process = subprocess.Popen(
        ["/bin/bash", "-c", request["command"]],
        env=ENVIRONMENT,
        cwd="/root",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(request.get("input", "").encode(), timeout=float(request["timeout_s"]))
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        code = -1
    answer = {
        "id": request["id"],
        "code": code,
        "out": out.decode(errors="replace"),
        "err": err.decode(errors="replace"),
    }
    with answering:
        link.write(json.dumps(answer).encode() + b"\n")
        link.flush()


def main() -> None:
    with port("agent").open("r+b", buffering=0) as raw:
        link = io.BufferedWriter(raw)  # the port takes 32 KB at once
        link.write(b'{"id": 0, "code": 0, "out": "ready", "err": ""}\n')
        link.flush()
        waiting = b""
        while part := os.read(raw.fileno(), 65536):
            *lines, waiting = (waiting + part).split(b"\n")
            for line in lines:
                threading.Thread(target=run, args=(json.loads(line), link), daemon=True).start()
    sys.exit("the host has closed the port")


if __name__ == "__main__":
    main()
