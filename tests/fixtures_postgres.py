"""A real PostgreSQL a test session, and a fresh, migrated database a test (a copy of a template)."""

import asyncio
import itertools
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from services.ingest.database import migrate
from services.up.postgres import EmbeddedPostgres

_numbers = itertools.count()
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=64MB", "max_connections=60")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that another user may enter: under root the server is not root. pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="emberwatch-postgres-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def postgres_folder() -> Iterator[Path]:
    """A folder for a server of the test's own."""
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a running server with a migrated database `template_emberwatch`."""
    with asyncio.Runner() as runner, open_folder() as folder:  # one loop: the child process belongs to it
        server = EmbeddedPostgres(folder, free_port(), options=FAST)
        runner.run(server.start())
        try:
            runner.run(_execute(server.url, "CREATE DATABASE template_emberwatch"))
            runner.run(migrate(_database(server.url, "template_emberwatch")))
            yield server.url
        finally:
            runner.run(server.stop())


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of a database of this test's own."""
    name = f"test_{next(_numbers)}"
    with asyncio.Runner() as runner:
        runner.run(_execute(postgres_server, f"CREATE DATABASE {name} TEMPLATE template_emberwatch"))
        yield _database(postgres_server, name)
        runner.run(_execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)"))


def _database(url: str, name: str) -> str:
    return url.rpartition("/")[0] + "/" + name


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
