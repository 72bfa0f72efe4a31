"""Alembic's entry: runs the migrations on the connection, and in the transaction, that `app.store.migrate` gives it."""

from __future__ import annotations

from alembic import context

from app.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True
)
context.run_migrations()
