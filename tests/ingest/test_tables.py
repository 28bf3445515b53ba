"""The migrations make what tables.py says, and can be run again."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from services.ingest.database import migrate
from services.ingest.tables import metadata


async def test_migrations_make_the_tables_that_the_models_describe(postgres_url: str) -> None:
    await migrate(postgres_url)  # at the head already: nothing to do
    engine = create_async_engine(postgres_url.replace("postgresql://", "postgresql+asyncpg://"))

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()
    assert found == []
