"""Run by Alembic for each command. The connection, in a transaction of ours, comes with the configuration."""

from alembic import context

from app.store.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
