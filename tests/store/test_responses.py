from __future__ import annotations

from app.store.database import Store


async def add(store: Store, id: str, previous: str | None = None, owner: str = "a") -> None:
    await store.responses.add(
        id,
        owner=owner,
        model="m",
        previous_response_id=previous,
        container_id=None,
        input_items=[],
        output_items=[],
        response={"id": id},
    )


async def chain(store: Store, id: str) -> list[str]:
    return [turn.id for turn in await store.responses.chain(id, owner="a")]


async def test_a_conversation_is_followed_back_oldest_first(store: Store) -> None:
    await add(store, "r1")
    await add(store, "r2", "r1")
    await add(store, "r3", "r2")
    await add(store, "side", "r2")
    assert await chain(store, "r3") == ["r1", "r2", "r3"]
    assert await chain(store, "side") == ["r1", "r2", "side"]
    assert await chain(store, "r1") == ["r1"]
    assert await chain(store, "nope") == []


async def test_what_others_go_on_from_is_kept_for_them_when_it_is_deleted(store: Store) -> None:
    await add(store, "r1")
    await add(store, "r2", "r1")
    await add(store, "r3", "r2")
    await add(store, "side", "r2")
    for id in ("r1", "r2"):
        assert await store.responses.delete(id, owner="a")
        assert await store.responses.get(id, owner="a") is None
        assert await chain(store, id) == []
        assert not await store.responses.delete(id, owner="a")
    assert await chain(store, "r3") == ["r1", "r2", "r3"]
    assert await store.responses.delete("r3", owner="a")
    assert await chain(store, "side") == ["r1", "r2", "side"]
    assert await store.responses.delete("side", owner="a")
    await add(store, "late", "r2")  # was on its way when the last of them was deleted
    assert await chain(store, "late") == []


async def test_deleting_an_answer_leaves_those_before_it_that_were_not_deleted(store: Store) -> None:
    await add(store, "r1")
    await add(store, "r2", "r1")
    await add(store, "r3", "r2")
    assert await store.responses.delete("r2", owner="a")
    assert await store.responses.delete("r3", owner="a")
    assert await chain(store, "r1") == ["r1"]


async def test_a_conversation_without_its_beginning_is_none(store: Store) -> None:
    await add(store, "other", owner="b")
    await add(store, "r1", "other")
    await add(store, "r2", "r1")
    assert await chain(store, "r2") == []


async def test_a_circle_ends(store: Store) -> None:
    await add(store, "r1", "r2")
    await add(store, "r2", "r1")
    assert set(await chain(store, "r1")) == {"r1", "r2"}
