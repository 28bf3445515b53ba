"""The embedded server: started, killed, started again."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from services.up.postgres import EmbeddedPostgres, PostgresError
from tests.fixtures_postgres import free_port

OPTIONS = ("fsync=off",)

LAUNCH = """
import asyncio, sys
from pathlib import Path
from services.up.postgres import EmbeddedPostgres

async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]), int(sys.argv[2]), options=("fsync=off",))
    await server.start()
    print(server.process.pid, flush=True)
    await server.wait()

asyncio.run(main())
"""


@pytest.fixture
def folder(postgres_folder: Path) -> Path:
    return postgres_folder / "postgres"


async def _count(server: EmbeddedPostgres) -> int:
    connection = await asyncpg.connect(server.url)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (id int)")
    await connection.execute("INSERT INTO kept VALUES (1)")
    count = await connection.fetchval("SELECT count(*) FROM kept")
    await connection.close()
    return int(count)


async def test_what_was_committed_survives_a_kill_and_a_restart(folder: Path) -> None:
    server = EmbeddedPostgres(folder, free_port(), options=OPTIONS)
    await server.start()
    assert await _count(server) == 1
    assert server.process is not None
    server.process.kill()
    assert await server.wait() == -signal.SIGKILL
    await server.start()
    assert await _count(server) == 2
    await server.stop()
    assert server.process.returncode == 0


def _launch_and_kill(folder: Path, port: int) -> int:
    """Start a server from a process of its own, kill that; returns the orphan's pid."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", LAUNCH, str(folder), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as launcher:
        assert launcher.stdout is not None
        orphan = int(launcher.stdout.readline())
        launcher.kill()
    return orphan


async def test_a_server_whose_launcher_was_killed_is_ended_and_its_folder_taken_over(folder: Path) -> None:
    port = free_port()
    orphan = await asyncio.to_thread(_launch_and_kill, folder, port)
    assert psutil.pid_exists(orphan)
    async with EmbeddedPostgres(folder, port, options=OPTIONS) as server:
        assert await _count(server) == 1
        assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE


async def test_only_who_knows_the_password_may_in_and_only_from_here(folder: Path) -> None:
    async with EmbeddedPostgres(folder, free_port(), options=OPTIONS) as server:
        assert (folder / "password").stat().st_mode & 0o077 == 0
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(host="127.0.0.1", port=server.port, user="postgres", password="guess")
        listening = {
            connection.laddr.ip
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == server.port
        }
        assert listening == {"127.0.0.1"}


@pytest.mark.parametrize(("options", "synced"), [((), True), (OPTIONS, False)])
async def test_a_new_cluster_is_on_the_disk_before_it_is_used_unless_nothing_is_to_be(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], synced: bool
) -> None:
    said: list[str] = []
    run = subprocess.run

    def listen(*arguments: Any, **more: Any) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = run(*arguments, **more)
        said.append(done.stdout)
        return done

    monkeypatch.setattr(subprocess, "run", listen)
    async with EmbeddedPostgres(folder, free_port(), options=options):
        (output,) = said
        assert ("syncing data to disk ... ok" in output) == synced  # initdb's own words


async def test_a_second_launcher_is_refused(folder: Path) -> None:
    async with EmbeddedPostgres(folder, free_port(), options=OPTIONS):
        with pytest.raises(PostgresError, match="another running Emberwatch"):
            await EmbeddedPostgres(folder, free_port()).start()


async def test_a_used_port_is_named(folder: Path) -> None:
    async def nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    taken = await asyncio.start_server(nobody, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    server = EmbeddedPostgres(folder, port)
    with pytest.raises(PostgresError, match=f"running on port {port}"):
        await server.start()
    await server.stop()
    taken.close()
    await taken.wait_closed()
