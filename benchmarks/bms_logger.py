"""The peer of the edge benchmark: dalybms (PyPI), which reads a Daly BMS on a serial line and publishes each value.

Its interpreter is given, since it is none of our dependencies. The BMS is a thread of ours at the other end of a
pseudo-terminal; the values that its own command publishes go to a broker of its own, once a second.
"""

import os
import pty
import socket
import struct
import subprocess
import tempfile
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CELLS: Final = 16  # what one such BMS can have
FRAME: Final = 13  # bytes of a request and of an answer
LOGGER: Final = """
import json, sys, time
import paho.mqtt.client as paho
from dalybms import DalyBMS

bms = DalyBMS(address=4)
bms.connect(sys.argv[1])
client = paho.Client(paho.CallbackAPIVersion.VERSION2)
client.connect("127.0.0.1", int(sys.argv[2]))
client.loop_start()

def publish(result, base=""):
    for key, value in result.items():
        if isinstance(value, dict):
            publish(value, f"{base}/{key}")
        else:
            client.publish(f"daly_bms{base}/{key}", json.dumps(value) if isinstance(value, list) else value)

due = time.monotonic()
while True:
    publish(bms.get_all())
    due += 1.0
    time.sleep(max(due - time.monotonic(), 0.0))
"""


class DalyBms(threading.Thread):
    """Answers as a Daly BMS does (a pack at rest), until its line is closed."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._end, line = pty.openpty()
        tty.setraw(line)
        self.path = os.ttyname(line)
        self._line = line  # held open, or reading fails before the logger has come
        self.answered = 0

    def run(self) -> None:
        waiting = b""
        try:
            while chunk := os.read(self._end, 64):
                waiting += chunk
                while len(waiting) >= FRAME:
                    request, waiting = waiting[:FRAME], waiting[FRAME:]
                    os.write(self._end, b"".join(map(_frame, [request[2]] * 99, _answers(request[2]))))
                    self.answered += request[2] == 0x90
        except OSError:
            return


def _frame(command: int, content: bytes) -> bytes:
    head = bytes((0xA5, 0x01, command, 8)) + content
    return head + bytes((sum(head) & 0xFF,))


def _answers(command: int) -> list[bytes]:
    match command:
        case 0x90:
            return [struct.pack(">hhhh", 528, 0, 30_000 - 15, 640)]
        case 0x91:
            return [struct.pack(">hbhb2x", 3312, 1, 3298, 9)]
        case 0x92:
            return [struct.pack(">bbbb4x", 62, 1, 60, 2)]
        case 0x93:
            return [struct.pack(">b??Bl", 0, True, True, 3, 100_000)]
        case 0x94:
            return [struct.pack(">bb??bhx", CELLS, 2, False, False, 0, 12)]
        case 0x95:
            cells = [3298 + i % 15 for i in range(CELLS + 2)]
            return [struct.pack(">b3hx", n + 1, *cells[3 * n : 3 * n + 3]) for n in range((CELLS + 2) // 3)]
        case 0x96:
            return [bytes((1, 62, 60, 0, 0, 0, 0, 0))]
        case _:
            return [bytes(8)]


@contextmanager
def logger(python: Path) -> Iterator[tuple[int, DalyBms]]:
    """Run it: (pid, BMS). Raises SystemExit when that interpreter has no dalybms, or it does not read."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    bms = DalyBms()
    bms.start()
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "mosquitto.conf"
        settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        broker = subprocess.Popen(["/usr/sbin/mosquitto", "-c", str(settings)], stderr=subprocess.DEVNULL)
        time.sleep(1.0)
        peer = subprocess.Popen([str(python), "-c", LOGGER, bms.path, str(port)])
        try:
            deadline = time.monotonic() + 30
            while bms.answered < 3:
                if peer.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{python}: dalybms does not read its BMS; pip install dalybms 'paho-mqtt>=2'")
                time.sleep(0.2)
            yield peer.pid, bms
        finally:
            for process in (peer, broker):
                process.terminate()
                process.wait(10)
