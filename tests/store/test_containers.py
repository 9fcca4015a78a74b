from __future__ import annotations

import asyncio

from app.store.containers import ContainerRecord
from app.store.database import Store
from app.store.paging import PageRequest
from tests.store.conftest import Clock


async def add(store: Store, id: str, instance: str = "here", name: str = "n") -> None:
    assert await store.sessions.claim(id, owner="a", instance=instance, idle_s=1200) is None
    await store.containers.add(id, owner="a", name=name, idle_minutes=20, memory_limit=None)


async def get(store: Store, id: str) -> ContainerRecord:
    record = await store.containers.get(id, owner="a")
    assert record
    return record


async def test_it_tells_which_live_gateway_holds_its_session(store: Store, clock: Clock) -> None:
    await store.instances.beat("here", lease_s=30)
    await store.instances.beat("there", lease_s=60)
    await add(store, "c1", "here")
    await add(store, "c2", "there")
    assert [(await get(store, id)).instance for id in ("c1", "c2")] == ["here", "there"]
    clock.now += 30
    assert [(await get(store, id)).instance for id in ("c1", "c2")] == [None, "there"]
    await store.sessions.release({"c1", "c2"}, instance="there")
    assert (await get(store, "c2")).instance is None
    await store.instances.beat("here", lease_s=30)  # it was only suspended
    assert (await get(store, "c1")).instance == "here"


async def test_use_is_noted(store: Store, clock: Clock) -> None:
    await add(store, "c1")
    clock.now += 60
    await store.containers.touch("c1", owner="a")
    container = await get(store, "c1")
    assert (container.created_at, container.last_active_at) == (clock.now - 60, clock.now)


async def test_lists_can_be_narrowed_to_a_name(store: Store) -> None:
    await add(store, "c1", name="x")
    await add(store, "c2", name="y")
    records, _ = await store.containers.list(owner="a", page=PageRequest(), name="y")
    assert records == [await get(store, "c2")]


async def test_a_deleted_container_takes_its_files_records_along(store: Store) -> None:
    await add(store, "c1")
    await store.container_files.put("f1", owner="a", container_id="c1", path="/mnt/data/x", bytes=1, source="user")
    assert await store.containers.delete("c1", owner="a")
    assert await store.containers.get("c1", owner="a") is None
    assert await store.container_files.get("f1", owner="a", container_id="c1") is None
    assert not await store.containers.delete("c1", owner="a")


async def test_a_file_written_again_keeps_its_id(store: Store, clock: Clock) -> None:
    files = store.container_files
    await files.put("f1", owner="a", container_id="c1", path="/mnt/data/x", bytes=1, source="user")
    clock.now += 1
    again = await files.put("f2", owner="a", container_id="c1", path="/mnt/data/x", bytes=2, source="assistant")
    elsewhere = await files.put("f3", owner="a", container_id="c2", path="/mnt/data/x", bytes=3, source="user")
    assert (again.id, again.bytes, again.source, elsewhere.id) == ("f1", 2, "assistant", "f3")
    assert await files.list(owner="a", container_id="c1", page=PageRequest()) == ([again], False)
    assert await files.get("f1", owner="a", container_id="c2") is None
    assert await files.delete("f1", owner="a", container_id="c1")
    assert await files.get("f1", owner="a", container_id="c1") is None


async def test_of_many_who_write_one_path_all_get_the_same_id(store: Store) -> None:
    async with asyncio.TaskGroup() as tasks:
        puts = [
            tasks.create_task(
                store.container_files.put(
                    f"f{number}", owner="a", container_id="c1", path="/mnt/data/x", bytes=number, source="user"
                )
            )
            for number in range(8)
        ]
    assert len({task.result().id for task in puts}) == 1


async def test_records_follow_what_lies_in_the_folder(store: Store) -> None:
    ids = iter(["cfile_a", "cfile_b", "cfile_c"])
    files = store.container_files

    async def sync(sizes: dict[str, int]) -> dict[str, tuple[str, int, str]]:
        records = await files.sync(sizes, owner="a", container_id="c1", new_id=lambda: next(ids))
        stored, _ = await files.list(owner="a", container_id="c1", page=PageRequest())
        assert sorted(stored, key=lambda record: record.id) == sorted(records, key=lambda record: record.id)
        return {record.path: (record.id, record.bytes, record.source) for record in records}

    await files.put("cfile_u", owner="a", container_id="c1", path="/in", bytes=1, source="user")
    await files.put("cfile_x", owner="a", container_id="c2", path="/in", bytes=1, source="user")
    assert await sync({"/in": 1, "/out": 5}) == {"/in": ("cfile_u", 1, "user"), "/out": ("cfile_a", 5, "assistant")}
    assert await sync({"/in": 2, "/out": 5}) == {
        "/in": ("cfile_u", 2, "assistant"),
        "/out": ("cfile_a", 5, "assistant"),
    }
    assert await sync({}) == {}
    assert await files.get("cfile_x", owner="a", container_id="c2") is not None
