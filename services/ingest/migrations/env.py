"""Alembic's entry: runs the migrations on the connection that services.ingest.database hands over."""

from alembic import context
from sqlalchemy import Connection

from services.ingest import tables

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=tables.metadata)
with context.begin_transaction():
    context.run_migrations()
