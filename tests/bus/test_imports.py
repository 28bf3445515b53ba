"""Who may import whom: services know services.bus and themselves; training may know services, never the reverse."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = sorted(p.name for p in (ROOT / "services").iterdir() if p.is_dir() and any(p.rglob("*.py")))

EXCEPTIONS = {"up": {"services.sensor"}}  # a launcher, not a service: docs/decisions/0001-launcher.md


def imported(path: Path) -> Iterator[str]:
    """Full names of all modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_parts_are_seen() -> None:
    assert {"bus", "sensor", "inference", "alert", "ingest"} <= set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_the_bus_and_itself_only(service: str) -> None:
    allowed = {"services", "services.bus", f"services.{service}", *EXCEPTIONS.get(service, ())}
    for path in sorted((ROOT / "services" / service).rglob("*.py")):
        for name in imported(path):
            top, *rest = name.split(".")
            assert top not in ("training", "tests", "benchmarks"), f"{path}: {name}"
            if top == "services":
                assert rest, f"{path}: {name}"
                assert ".".join((top, rest[0])) in allowed, f"{path}: {name}"


def test_the_bus_imports_no_service() -> None:
    for path in (ROOT / "services" / "bus").rglob("*.py"):
        assert all(n.startswith("services.bus.") for n in imported(path) if n.split(".")[0] == "services"), path


@pytest.mark.parametrize("name", ["ranges", "topics", "feed", "backfill", "messages", "fields", "errors", "counters"])
def test_modules_of_pure_logic_know_neither_broker_nor_loop_nor_clock(name: str) -> None:
    found = {n.split(".")[0] for n in imported(ROOT / "services" / "bus" / f"{name}.py")}
    assert not found & {"paho", "asyncio", "time", "threading", "socket", "sqlite3"}
