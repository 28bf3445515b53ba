"""`./emberwatch power`: what the running services cost a day: processor time, wake-ups, bytes written, memory.

Read from /proc twice, some time apart. A wake-up is a voluntary context switch: a thread that had slept was run. On a
battery-powered node wake-ups and processor time are what can be saved; on its card, bytes.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson
from rich.console import Console
from rich.progress import track
from rich.table import Table

from services.bus.errors import EmberwatchError

DAY_S: Final = 86_400.0
TICK_S: Final = 1.0 / os.sysconf("SC_CLK_TCK")
_SERVICE: Final = re.compile(r"services\.([a-z]+)")
_BROKER: Final = re.compile(r"/mosquitto/(local|gateway|cloud)/")


@dataclass(frozen=True, slots=True)
class Usage:
    """Totals of one process since it started. written: bytes caused to be sent to storage; None = not ours to see."""

    cpu_s: float
    wake_ups: int
    written: int | None
    memory: int  # bytes, each page shared by n processes counted 1/n (PSS); RSS where that is not ours to see


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process costs: cpu_share of one core, the rest a day or now."""

    cpu_share: float
    cpu_s_day: float
    wake_ups_s: float
    wake_ups_day: float
    written_mb_day: float | None
    memory_mb: float


def name_of(arguments: list[str]) -> str | None:
    """`sensor`, `broker local`; None = not one of ours."""
    if "-m" in arguments[:-1]:
        found = _SERVICE.fullmatch(arguments[arguments.index("-m") + 1])
        return found[1] if found else None
    if arguments and Path(arguments[0]).name == "mosquitto":
        broker = _BROKER.search(" ".join(arguments))
        return f"broker {broker[1]}" if broker else None
    return None


def read(process: Path) -> Usage:
    """Of /proc/PID. Raises OSError when it has ended."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    wake_ups = sum(
        int(_field((thread / "status").read_text(), "voluntary_ctxt_switches") or 0)
        for thread in (process / "task").iterdir()
    )
    try:
        memory = int(_field((process / "smaps_rollup").read_text(), "Pss") or 0) * 1024
        written = written_bytes(process)
    except PermissionError:
        memory, written = int(_field((process / "status").read_text(), "VmRSS") or 0) * 1024, None
    return Usage((int(fields[11]) + int(fields[12])) * TICK_S, wake_ups, written, memory)


def written_bytes(process: Path) -> int:
    """Sent to storage, but for what was truncated before that (the journal's tail). Raises OSError."""
    io = (process / "io").read_text()
    return int(_field(io, "write_bytes") or 0) - int(_field(io, "cancelled_write_bytes") or 0)


def _field(text: str, name: str) -> str | None:
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    return found[1] if found else None


def scan(proc: Path = Path("/proc")) -> dict[tuple[str, int], Usage]:
    """All of ours that run: (name, pid) -> totals."""
    found: dict[tuple[str, int], Usage] = {}
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        try:
            arguments = (process / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
            name = name_of(arguments)
            if name is not None:
                found[name, int(process.name)] = read(process)
        except OSError:  # ended meanwhile
            continue
    return found


def costs(
    before: Mapping[tuple[str, int], Usage], after: Mapping[tuple[str, int], Usage], elapsed_s: float
) -> dict[str, Cost]:
    """Per name; processes that were there both times."""
    found: dict[str, Cost] = {}
    for (name, pid), end in sorted(after.items()):
        begin = before.get((name, pid))
        if begin is None:
            continue
        share = (end.cpu_s - begin.cpu_s) / elapsed_s
        wake_ups = (end.wake_ups - begin.wake_ups) / elapsed_s
        written = None
        if end.written is not None and begin.written is not None:
            written = (end.written - begin.written) / elapsed_s * DAY_S / 1e6
        label = name if name not in found else f"{name} ({pid})"
        found[label] = Cost(share, share * DAY_S, wake_ups, wake_ups * DAY_S, written, end.memory / 1e6)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to measure (60)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def main(arguments: argparse.Namespace) -> int:
    try:
        found = measure(arguments.seconds)
    except EmberwatchError as error:
        print(f"power: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(orjson.dumps({name: asdict(cost) for name, cost in found.items()}, option=orjson.OPT_INDENT_2).decode())
    else:
        Console().print(table(found))
    return 0


def measure(seconds: float) -> dict[str, Cost]:
    """Look twice. Raises EmberwatchError when nothing runs, or for a time that makes no sense."""
    if not 0.1 <= seconds <= DAY_S:
        raise EmberwatchError("--seconds: from 0.1 to 86400")
    before, began = scan(), time.monotonic()
    if not before:
        raise EmberwatchError("nothing of Emberwatch runs on this computer")
    steps = max(round(seconds), 1)
    console = Console(stderr=True)
    for _ in track(range(steps), "measuring", console=console, disable=not console.is_terminal, transient=True):
        time.sleep(seconds / steps)
    return costs(before, scan(), time.monotonic() - began)


def table(found: Mapping[str, Cost]) -> Table:
    made = Table("", "% of a core", "CPU s/day", "wake-ups/s", "MB written/day", "MB memory")
    for name, cost in [*found.items(), ("together", total(found))]:
        written = "not ours to see" if cost.written_mb_day is None else f"{cost.written_mb_day:.1f}"
        made.add_row(
            name,
            f"{100 * cost.cpu_share:.2f}",
            f"{cost.cpu_s_day:.0f}",
            f"{cost.wake_ups_s:.1f}",
            written,
            f"{cost.memory_mb:.0f}",
        )
    return made


def total(found: Mapping[str, Cost]) -> Cost:
    """The sum; what is written is that of those who may be seen."""
    parts = list(found.values())
    written = [cost.written_mb_day for cost in parts if cost.written_mb_day is not None]
    return Cost(
        sum(c.cpu_share for c in parts),
        sum(c.cpu_s_day for c in parts),
        sum(c.wake_ups_s for c in parts),
        sum(c.wake_ups_day for c in parts),
        sum(written) if written else None,
        sum(c.memory_mb for c in parts),
    )
