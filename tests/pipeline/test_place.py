"""Something that is opened when it is first wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.errors import SandboxUnavailable
from app.pipeline.place import AtHand, Late
from tests.fakes.session import FakeSession


class Door:
    """``ready`` lets the opening go on; ``fails`` ends it."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.opened = self.closed = self.given_up = 0
        self.fails: Exception | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        self.opened += 1
        try:
            await self.ready.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.fails is not None:
            raise self.fails
        yield "inside"
        self.closed += 1


async def test_what_nobody_wants_is_not_opened() -> None:
    door = Door()
    async with Late(door.open) as late:
        assert late.value is None
    assert door.opened == 0


async def test_it_is_opened_once_in_the_background_and_closed_at_the_end() -> None:
    door = Door()
    async with asyncio.timeout(5), Late(door.open) as late:
        late.want()
        late.want()
        assert late.value is None
        door.ready.set()
        assert await asyncio.gather(late.get(), late.get()) == ["inside", "inside"]
        assert late.value == "inside"
        assert (door.opened, door.closed) == (1, 0)
    assert door.closed == 1


async def test_who_asks_is_told_why_it_cannot_be_opened_each_time() -> None:
    door = Door()
    door.fails = SandboxUnavailable("none")
    door.ready.set()
    async with asyncio.timeout(5), Late(door.open) as late:
        for _ in range(2):
            with pytest.raises(SandboxUnavailable):
                await late.get()
        assert late.value is None
    assert door.opened == 1


async def test_a_failure_that_nobody_asks_about_is_nobodys() -> None:
    door = Door()
    door.fails = SandboxUnavailable("none")
    async with asyncio.timeout(5), Late(door.open) as late:
        late.want()
        door.ready.set()
        await asyncio.sleep(0)


async def test_leaving_while_it_is_being_opened_gives_it_up() -> None:
    door = Door()
    async with asyncio.timeout(5), Late(door.open) as late:
        late.want()
        await asyncio.sleep(0)
    assert (door.opened, door.given_up, door.closed) == (1, 1, 0)


async def test_an_asker_that_is_cancelled_does_not_end_the_opening() -> None:
    door = Door()
    async with asyncio.timeout(5), Late(door.open) as late:
        asking = asyncio.create_task(late.get())
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        door.ready.set()
        assert await late.get() == "inside"
    assert (door.opened, door.given_up) == (1, 0)


@pytest.mark.parametrize("is_open", [True, False])
async def test_who_is_cancelled_again_while_leaving_leaves_nothing_open(is_open: bool) -> None:
    door = Door()
    inside = asyncio.Event()

    async def visit() -> None:
        async with Late(door.open) as late:
            late.want()
            if is_open:
                door.ready.set()
                await late.get()
            inside.set()
            await asyncio.Event().wait()

    async with asyncio.timeout(5):
        visiting = asyncio.create_task(visit())
        await inside.wait()
        visiting.cancel()
        await asyncio.sleep(0)
        visiting.cancel()
        await asyncio.wait([visiting])
        while not door.closed + door.given_up:
            await asyncio.sleep(0)
    assert (door.opened, door.closed, door.given_up) == ((1, 1, 0) if is_open else (1, 0, 1))


async def test_a_session_at_hand_is_its_own_place() -> None:
    session = FakeSession()
    place = AtHand(session, "ses_1")
    place.prepare()
    assert await place.session() is session
    assert (place.name, place.container_id, place.python_version) == ("ses_1", session.id, session.python_version)
