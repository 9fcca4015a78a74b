"""Databases of every earlier version, and of none, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import migrations, schema
from app.store.database import open_store, upgrade_store
from app.store.engine import open_engine
from app.store.migrations import HEAD
from app.store.migrations.versions import v0001_baseline as baseline
from app.store.schema import VERSION_TABLE, Upgrade, WrongSchema
from app.store.tables import metadata

FOLDER = Path(migrations.__file__).parent
VERSIONS = [script.revision for script in reversed(list(ScriptDirectory(str(FOLDER)).walk_revisions()))]
on_disk = pytest.mark.parametrize("url", ["file", "postgres"], indirect=True)


async def make(url: str, version: str, *, versioned: bool = True) -> None:
    """A database as the release of ``version`` would have left it, with a row in it."""
    async with open_engine(url) as engine, engine.begin() as connection:
        await connection.run_sync(_make, version)
        if versioned:
            await connection.execute(text(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL)"))
            await connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES ('{version}')"))
        await connection.execute(
            text(
                "INSERT INTO eager_uploaded_files (id, owner, created_at, filename, bytes, purpose) "
                "VALUES ('file-1', 'a', 1, 'x', 3, 'user_data')"
            )
        )


def _make(connection: Connection, version: str) -> None:
    with Operations.context(MigrationContext.configure(connection)):
        for script in reversed(list(ScriptDirectory(str(FOLDER)).iterate_revisions(version, "base"))):
            import_module(f"app.store.migrations.versions.{Path(script.path).stem}").upgrade()


async def _execute(url: str, statement: str) -> None:
    async with open_engine(url) as engine, engine.begin() as connection:
        await connection.execute(text(statement))


def test_the_head_is_the_latest_version() -> None:
    assert ScriptDirectory(str(FOLDER)).get_heads() == [HEAD]


@on_disk
async def test_the_versions_make_the_tables_that_we_use(url: str) -> None:
    assert await upgrade_store(url) == Upgrade(None, HEAD)
    async with open_engine(url) as engine, engine.connect() as connection:
        assert await connection.run_sync(_differences) == []


def _differences(connection: Connection) -> list[object]:
    options = {"version_table": VERSION_TABLE, "compare_type": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


@on_disk
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_database_of_an_earlier_release_is_upgraded_as_the_gateway_starts(
    url: str, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    await make(url, version)
    with caplog.at_level(logging.INFO):
        async with open_store(url) as store:
            file = await store.files.get("file-1", owner="a")
    assert file is not None
    assert file.filename == "x"
    told = [record.getMessage() for record in caplog.records if record.name == schema.__name__]
    assert told == ([] if version == HEAD else [f"the database has been upgraded from version {version} to {HEAD}"])
    async with open_engine(url) as engine, engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
    assert await upgrade_store(url) is None


@on_disk
async def test_tables_made_before_versions_were_kept_are_recognised(url: str) -> None:
    await make(url, baseline.revision, versioned=False)
    await _execute(url, "DROP TABLE eager_hidden_calls")  # one that was not there yet
    assert await upgrade_store(url) == Upgrade(baseline.revision, HEAD)
    async with open_store(url) as store:
        assert await store.files.get("file-1", owner="a") is not None


@on_disk
async def test_stored_answers_of_an_earlier_release_keep_their_items(url: str) -> None:
    await make(url, baseline.revision, versioned=False)
    given = [{"role": "user", "content": f"\ud83d \0 {number}"} for number in range(250)]
    row = {"i": json.dumps(given), "o": json.dumps([{"id": "msg_1"}]), "r": json.dumps({"id": "resp_1"})}
    async with open_engine(url) as engine, engine.begin() as connection:
        value = "CAST(:{} AS JSON)" if engine.dialect.name == "postgresql" else ":{}"
        columns = "id, owner, created_at, model, input_items, output_items, response"
        values = f"'resp_1', 'a', 1, 'm', {', '.join(map(value.format, row))}"
        await connection.execute(text(f"INSERT INTO eager_responses ({columns}) VALUES ({values})"), row)
    async with open_store(url) as store:
        (turn,) = await store.responses.chain("resp_1", owner="a")
        found = await store.responses.get("resp_1", owner="a")
    assert turn.input_items == given
    assert turn.output_items == [{"id": "msg_1"}]
    assert found is not None
    assert json.loads(found.document) == {"id": "resp_1"}


@on_disk
async def test_a_database_of_a_newer_release_is_left_alone(url: str) -> None:
    await make(url, HEAD)
    await _execute(url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(WrongSchema, match=f"version 9999, .* up to {HEAD}: a newer one made it"):
        async with open_store(url):
            pytest.fail("opened")


@on_disk
async def test_tables_of_no_release_are_left_alone(url: str) -> None:
    await make(url, baseline.revision, versioned=False)
    await _execute(url, "ALTER TABLE eager_uploaded_files DROP COLUMN purpose")
    with pytest.raises(WrongSchema, match="kept no versions, and its table eager_uploaded_files"):
        await upgrade_store(url)
    async with open_engine(url) as engine, engine.connect() as connection:
        assert not await connection.run_sync(lambda sync: inspect(sync).has_table(VERSION_TABLE))


@on_disk
async def test_an_upgrade_that_fails_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = AsyncConnection.run_sync

    async def fail_behind(self: AsyncConnection, function: object, *arguments: object) -> object:
        result = await execute(self, function, *arguments)  # type: ignore[arg-type]
        if isinstance(result, Upgrade):
            raise RuntimeError("the disk is full")
        return result

    await make(url, baseline.revision, versioned=False)
    monkeypatch.setattr(AsyncConnection, "run_sync", fail_behind)
    with pytest.raises(RuntimeError, match="full"):
        await upgrade_store(url)
    monkeypatch.undo()
    assert await upgrade_store(url) == Upgrade(baseline.revision, HEAD)


@on_disk
async def test_gateways_that_start_at_once_on_an_old_database_upgrade_it_once(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await make(url, baseline.revision, versioned=False)
    async with AsyncExitStack() as stack:
        stores = await asyncio.gather(*(stack.enter_async_context(open_store(url)) for _ in range(4)))
        assert all([await store.files.get("file-1", owner="a") for store in stores])
    assert sum(record.name == schema.__name__ for record in caplog.records) == 1
