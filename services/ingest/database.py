"""The connection pool, the migrations, and the monthly partitions."""

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from services.bus.errors import ConfigError
from services.ingest.tables import PARTITIONED

log = logging.getLogger(__name__)

_LOCK: Final = 0x656D6265  # advisory lock of migrations and partitions: several copies may start at once

TRANSIENT: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,  # shut down by an administrator, or still starting
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.InternalServerError,
    asyncpg.ObjectInUseError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is being promoted
    asyncpg.PostgresSystemError,
    asyncpg.InternalClientError,  # a query on a connection whose server said goodbye and has not hung up yet
)
"""Errors of the database's state and not of our data: the same again may succeed."""


async def connect(url: str, retry_s: float = 1.0) -> asyncpg.Pool:
    """Open the pool, waiting for the server as long as it takes, and bring the schema up to date.

    Raises:
        ConfigError: the URL is none, or the server refuses user or database.
    """
    if urlsplit(url).scheme not in ("postgresql", "postgres"):
        raise ConfigError("ingest", "database_url", "expected postgresql://user:password@host:port/database")
    while True:
        try:
            pool = await asyncpg.create_pool(url, min_size=1, max_size=8, command_timeout=60, init=_prepare)
            await migrate(url)
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
            raise ConfigError("ingest", "database_url", str(error)) from None
        except TRANSIENT as error:
            log.warning("database: %s; trying again", str(error) or type(error).__name__)
            await asyncio.sleep(retry_s)
        else:
            return pool


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.execute("SET timezone = 'UTC'")


async def migrate(url: str) -> None:
    """Run the Alembic migrations that are outstanding."""
    engine = create_async_engine("postgresql+asyncpg://" + url.partition("://")[2])
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def alembic_config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _upgrade(connection: Connection) -> None:
    command.upgrade(alembic_config(connection), "head")


class Partitions:
    """Makes the monthly partitions that a batch needs, before it is copied."""

    def __init__(self) -> None:
        self._known: set[tuple[str, int, int]] = set()

    async def ensure(self, connection: Any, table: str, times: Iterable[datetime]) -> None:
        wanted = {(table, month.year, month.month) for month in {t.astimezone(UTC) for t in times}} - self._known
        if not wanted:
            return
        if table not in PARTITIONED:
            raise ValueError(f"{table} has no partitions")
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            for _, year, month in sorted(wanted):
                name, start = f"{table}_{year}_{month:02d}", f"{year}-{month:02d}-01"
                end = f"{year + month // 12}-{month % 12 + 1:02d}-01"
                await connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table} "
                    f"FOR VALUES FROM ('{start} 00:00:00+00') TO ('{end} 00:00:00+00')"
                )
        self._known |= wanted
