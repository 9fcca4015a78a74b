"""What the store promises as a whole."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError

from app.store import engine
from app.store.database import Store, open_store
from app.store.paging import PageRequest


async def fill(store: Store) -> None:
    await store.instances.beat("g", lease_s=600)
    assert await store.sessions.claim("cntr_1", owner="a", instance="g", idle_s=1200) is None
    await store.responses.add(
        "resp_1",
        owner="a",
        model="m",
        previous_response_id=None,
        container_id="cntr_1",
        input_items=[{"type": "message", "content": "é😀"}],
        output_items=[{"type": "message"}],
        response={"id": "resp_1", "output": []},
    )
    await store.containers.add("cntr_1", owner="a", name="n", idle_minutes=20, memory_limit="1g")
    await store.container_files.put(
        "cfile_1", owner="a", container_id="cntr_1", path="/mnt/data/x", bytes=3, source="user"
    )
    await store.files.add("file-1", owner="a", filename="x", bytes=3, purpose="user_data")
    await store.hidden_calls.put(["call_1"], {"calls": [1]}, owner="a", ttl_s=60)
    await store.idempotency_keys.claim("key", owner="a", instance="g", fingerprint="f", ttl_s=60)


@pytest.mark.parametrize("url", ["file", "postgres"], indirect=True)
async def test_everything_survives_a_restart(url: str) -> None:
    async with open_store(url) as store:
        await fill(store)
    async with open_store(url) as store:
        response = await store.responses.get("resp_1", owner="a")
        assert response
        assert json.loads(response.document) == {"id": "resp_1", "output": []}
        (turn,) = await store.responses.chain("resp_1", owner="a")
        assert turn.output_items == [{"type": "message"}]
        assert turn.input_items == [{"type": "message", "content": "é😀"}]
        container = await store.containers.get("cntr_1", owner="a")
        assert container
        assert container.memory_limit == "1g"
        assert await store.container_files.get("cfile_1", owner="a", container_id="cntr_1")
        assert await store.files.get("file-1", owner="a")
        assert await store.hidden_calls.find(["call_1"], owner="a") == {"call_1": {"calls": [1]}}
        known = await store.idempotency_keys.claim("key", owner="a", instance="g", fingerprint="f", ttl_s=60)
        assert known
        assert known.state == "running"


@pytest.mark.parametrize("url", ["file", "postgres"], indirect=True)
async def test_an_error_does_not_tell_what_was_to_be_written(url: str) -> None:
    async with open_store(url) as store:
        await fill(store)
        with pytest.raises(SQLAlchemyError, match="INSERT INTO eager_uploaded_files") as caught:
            await store.files.add("file-1", owner="a", filename="my secret", bytes=3, purpose="user_data")
        assert "secret" not in str(caught.value)


async def test_requests_that_are_cancelled_while_they_write_do_not_keep_others_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_S", 5)
    chance = random.Random(1)
    async with open_store(f"sqlite+aiosqlite:///{tmp_path}/eager.db") as store:

        async def claim() -> None:
            key = chance.choice("abcdef")
            await store.idempotency_keys.claim(key, owner="a", instance="g", fingerprint="f", ttl_s=60)

        async def leave_in_midst() -> None:
            claiming = asyncio.create_task(claim())
            for _ in range(chance.randint(0, 200)):
                await asyncio.sleep(0)
            claiming.cancel()
            with suppress(asyncio.CancelledError):
                await claiming

        for _ in range(20):
            await asyncio.gather(*[claim() for _ in range(8)], *[leave_in_midst() for _ in range(12)])


async def test_nobody_sees_or_deletes_what_another_owns(store: Store) -> None:
    await fill(store)
    page = PageRequest()
    assert await store.responses.get("resp_1", owner="b") is None
    assert await store.responses.chain("resp_1", owner="b") == []
    assert await store.containers.get("cntr_1", owner="b") is None
    assert await store.container_files.get("cfile_1", owner="b", container_id="cntr_1") is None
    assert await store.files.get("file-1", owner="b") is None
    assert await store.hidden_calls.find(["call_1"], owner="b") == {}
    assert await store.idempotency_keys.claim("key", owner="b", instance="g", fingerprint="g", ttl_s=60) is None
    assert await store.sessions.find("cntr_1", owner="b") is None
    assert await store.sessions.list(owner="b") == []
    assert (await store.containers.list(owner="b", page=page))[0] == []
    assert (await store.container_files.list(owner="b", container_id="cntr_1", page=page))[0] == []
    assert (await store.files.list(owner="b", page=page))[0] == []
    assert not await store.responses.delete("resp_1", owner="b")
    assert not await store.container_files.delete("cfile_1", owner="b", container_id="cntr_1")
    assert not await store.containers.delete("cntr_1", owner="b")
    assert not await store.files.delete("file-1", owner="b")
    container = await store.containers.get("cntr_1", owner="a")
    assert container
    assert await store.container_files.get("cfile_1", owner="a", container_id="cntr_1")


async def test_many_writers_at_once_wait_for_one_another(store: Store) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(30):
            tasks.create_task(
                store.files.add(f"file-{number}", owner="a", filename="x", bytes=number, purpose="user_data")
            )
    records, more = await store.files.list(owner="a", page=PageRequest(limit=100))
    assert len(records) == 30
    assert not more


async def test_a_store_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "eager.db").write_bytes(b"no database at all, but long enough to be read as one" * 100)
    with pytest.raises(Exception, match="not a database"):
        async with open_store(f"sqlite+aiosqlite:///{tmp_path}/eager.db"):
            pytest.fail("opened")


async def test_an_id_with_a_null_character_is_nobodys(store: Store) -> None:
    assert await store.responses.get("resp_\0", owner="a") is None
    assert await store.containers.get("\0", owner="a") is None
    assert await store.files.get("\0", owner="a\0") is None
    assert not await store.files.delete("\0", owner="a")


async def test_a_null_character_in_a_name_is_replaced(store: Store) -> None:
    await store.files.add("file-1", owner="a", filename="a\0b", bytes=2**40, purpose="user_data")
    file = await store.files.get("file-1", owner="a")
    assert file
    assert (file.filename, file.bytes) == ("a\ufffdb", 2**40)
