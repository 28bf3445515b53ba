"""A real PostgreSQL a test session, and a fresh, migrated database a test (a copy of a template)."""

import asyncio
import itertools
import socket
from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a running server with a migrated database `template_emberwatch`."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)  # under root the server runs as another user
    with asyncio.Runner() as runner:  # one loop: the child process belongs to it
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
