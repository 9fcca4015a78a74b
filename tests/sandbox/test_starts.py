"""How many sandboxes start side by side."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from app.sandbox.starts import Starts, machine_is_short


async def test_on_a_short_machine_starts_go_one_at_a_time_in_the_order_of_coming() -> None:
    starts = Starts(is_short=lambda: True)
    order: list[int] = []
    doors = [asyncio.Event() for _ in range(4)]

    async def start(number: int) -> None:
        async with starts.turn():
            order.append(number)
            await doors[number].wait()

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(start(number)) for number in range(4)]
        await asyncio.sleep(0)
        assert order == [0]
        assert "3 more wait for their turn" in starts.describe()
        running[1].cancel()
        doors[0].set()
        await running[0]
        while len(order) < 2:
            await asyncio.sleep(0)
        for door in doors:
            door.set()
    assert order == [0, 2, 3]


async def test_otherwise_all_go_at_once() -> None:
    starts = Starts(is_short=lambda: False)
    async with starts.turn(), starts.turn(), starts.turn():
        assert "0 more wait" in starts.describe()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["come", "go", "leave", "short", "idle"]), max_size=40))
def test_whatever_happens_every_start_has_its_turn(steps: list[str]) -> None:
    async def play() -> None:
        short = True
        starts = Starts(is_short=lambda: short)
        doors: list[asyncio.Event] = []
        tasks: list[asyncio.Task[None]] = []

        async def start(door: asyncio.Event) -> None:
            async with starts.turn():
                await door.wait()

        for number, step in enumerate(steps):
            if step == "come":
                doors.append(asyncio.Event())
                tasks.append(asyncio.get_running_loop().create_task(start(doors[-1])))
            elif step in ("short", "idle"):
                short = step == "short"
            elif doors:
                doors[number % len(doors)].set() if step == "go" else tasks[number % len(tasks)].cancel()
            if number % 2:
                await asyncio.sleep(0)
        for door in doors:
            door.set()
        async with asyncio.timeout(20):
            await asyncio.gather(*tasks, return_exceptions=True)
        assert repr(starts) == "<Starts 0, 0 waiting>"

    asyncio.run(play())


def test_the_machine_has_its_say() -> None:
    assert machine_is_short() in (True, False)
