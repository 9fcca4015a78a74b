"""Versions of the schema: a database is recognised, brought up to date, or refused in one sentence.

Of any number of gateways that start at once the first one does it, under a lock of the database; all of it is one
transaction. Alembic takes half a second to import: that is done only where there is something to do.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, inspect, literal_column, select, table
from sqlalchemy.ext.asyncio import AsyncEngine

from app.store.migrations import HEAD

log = logging.getLogger(__name__)

#: Alembic's own, under a name that other applications in the same database do not use.
VERSION_TABLE = "eager_schema"
#: Held while the schema is looked at and changed. Any number will do that others do not use.
LOCK = 0x6561676572


class WrongSchema(ValueError):
    """The database is none that this release can use. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What was done. ``before`` is None where there was nothing: the database was new."""

    before: str | None
    after: str = HEAD


async def bring_up_to_date(engine: AsyncEngine) -> Upgrade | None:
    """Create the tables, or change those of an earlier release. None if there was nothing to do.

    Raises:
        WrongSchema: a newer release made it, or none.
    """
    async with engine.connect() as connection:
        if await connection.run_sync(_version) == HEAD:
            return None
    async with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
        elif engine.dialect.name == "sqlite":  # which waits here for whoever is first
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        upgrade = await connection.run_sync(_upgrade)
    if upgrade is not None and upgrade.before is not None:
        log.warning("the database has been upgraded from version %s to %s", upgrade.before, upgrade.after)
    return upgrade


def _version(connection: Connection) -> str | None:
    """None where no version is kept."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(select(literal_column("version_num")).select_from(table(VERSION_TABLE)))
    return found


def _upgrade(connection: Connection) -> Upgrade | None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    logging.getLogger("alembic").setLevel(logging.WARNING)  # what was done is told by us
    folder = str(Path(__file__).with_name("migrations"))
    kept = _version(connection)
    if kept == HEAD:  # another gateway was first
        return None
    if kept is not None and kept not in {script.revision for script in ScriptDirectory(folder).walk_revisions()}:
        raise WrongSchema(
            f"the database has version {kept}, and this release of Eager knows versions up to {HEAD}: "
            "a newer one made it, which has to be run"
        )
    before = kept or _baseline(connection)
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", folder.replace("%", "%%"))
    command.upgrade(config, "head")
    return Upgrade(before)


def _baseline(connection: Connection) -> str | None:
    """The version of a database that keeps none; None if it has no tables of ours.

    Raises:
        WrongSchema: its tables are those of no release.
    """
    from app.store.migrations.versions import v0001_baseline as baseline

    inspector = inspect(connection)
    present = [table for table in baseline.metadata.sorted_tables if inspector.has_table(table.name)]
    for known in present:
        found = {column["name"] for column in inspector.get_columns(known.name)}
        if found != set(known.columns.keys()):
            raise WrongSchema(
                f"the database was made by an Eager that kept no versions, and its table {known.name} is not the one "
                "of the last such release: move the database away, or carry its rows over by hand"
            )
    return baseline.revision if present else None
