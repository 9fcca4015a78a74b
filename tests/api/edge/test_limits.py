"""Rates and places in line."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import Depends, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from limits.aio.storage import MemoryStorage
from starlette.responses import StreamingResponse

from app.api.edge.auth import ANYONE, AuthMiddleware, Caller, Keyring
from app.api.edge.errors import install
from app.api.edge.limits import Admission, RateLimiter, Slots, TooManyRequests

NEVER_S = 1000.0


async def until_waiting(slots: Slots, count: int) -> None:
    while slots.statistics().waiting != count:
        await asyncio.sleep(0)


async def test_a_caller_has_its_rate_and_not_that_of_others() -> None:
    rates = RateLimiter()
    slow, other = Caller("slow", requests_per_minute=2), Caller("other", requests_per_minute=2)
    await rates.hit(slow)
    await rates.hit(slow)
    with pytest.raises(TooManyRequests) as refused:
        await rates.hit(slow)
    assert 50 <= int(refused.value.headers["retry-after"]) <= 60
    assert (refused.value.status, refused.value.type, refused.value.code) == (429, "requests", "rate_limit_exceeded")
    await rates.hit(other)
    for _ in range(100):
        await rates.hit(ANYONE)


async def test_gateways_that_share_a_storage_share_the_count() -> None:
    storage = MemoryStorage()
    caller = Caller("app", requests_per_minute=1)
    await RateLimiter(storage).hit(caller)
    with pytest.raises(TooManyRequests):
        await RateLimiter(storage).hit(caller)


async def test_slots_are_given_in_the_order_of_asking() -> None:
    slots = Slots(1, queue_limit=10, wait_s=NEVER_S)
    order: list[int] = []

    async def work(number: int) -> None:
        async with slots.slot():
            order.append(number)
            assert slots.statistics().used == 1

    async with asyncio.TaskGroup() as tasks, slots.slot():
        for number in range(5):
            tasks.create_task(work(number))
            await until_waiting(slots, number + 1)
    assert order == [0, 1, 2, 3, 4]
    assert (slots.statistics().used, slots.statistics().waiting) == (0, 0)


async def test_a_free_slot_is_promised_so_that_a_newcomer_does_not_overtake() -> None:
    slots = Slots(1, queue_limit=1, wait_s=NEVER_S)
    async with asyncio.TaskGroup() as tasks:
        async with AsyncExitStack() as held:
            await held.enter_async_context(slots.slot())
            first = tasks.create_task(_hold_once(slots))
            await until_waiting(slots, 1)
        # the slot is free, its promised owner has not run yet, and a newcomer has to stand in line
        async with asyncio.timeout(5), slots.slot():
            assert first.done()


async def _hold_once(slots: Slots) -> None:
    async with slots.slot():
        pass


async def test_a_full_line_refuses_at_once_and_a_deadline_later() -> None:
    full = Slots(1, queue_limit=0, wait_s=NEVER_S)
    async with full.slot():
        with pytest.raises(TooManyRequests) as refused:
            async with full.slot():
                pytest.fail("two in one slot")
    assert refused.value.headers["retry-after"] == "60"
    late = Slots(1, queue_limit=1, wait_s=0.0)
    async with late.slot():
        with pytest.raises(TooManyRequests):
            async with late.slot():
                pytest.fail("two in one slot")
        assert late.statistics().waiting == 0
    async with late.slot():
        assert late.statistics().used == 1


@pytest.mark.parametrize("promised", [False, True])
async def test_who_leaves_the_line_takes_no_slot_with_it(promised: bool) -> None:
    slots = Slots(1, queue_limit=2, wait_s=NEVER_S)
    held = AsyncExitStack()
    await held.enter_async_context(slots.slot())
    async with asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(_hold_once(slots))
        staying = tasks.create_task(_hold_once(slots))
        await until_waiting(slots, 2)
        if promised:
            await held.aclose()
            leaving.cancel()
        else:
            leaving.cancel()
            await held.aclose()
        async with asyncio.timeout(5):
            await staying
    assert leaving.cancelled()
    assert (slots.statistics().used, slots.statistics().waiting) == (0, 0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(["enter", "leave", "cancel"]), max_size=40), st.integers(1, 3))
def test_whatever_comes_and_goes_no_slot_is_lost_or_lent_twice(steps: list[str], limit: int) -> None:
    async def play() -> None:
        slots = Slots(limit, queue_limit=5, wait_s=NEVER_S)
        inside = 0
        doors: list[asyncio.Event] = []
        tasks: list[asyncio.Task[None]] = []

        async def visit(door: asyncio.Event) -> None:
            nonlocal inside
            async with slots.slot():
                inside += 1
                assert inside <= limit
                try:
                    await door.wait()
                finally:
                    inside -= 1

        for number, step in enumerate(steps):
            if step == "enter":
                doors.append(asyncio.Event())
                tasks.append(asyncio.get_running_loop().create_task(visit(doors[-1])))
            elif step == "leave" and doors:
                doors[number % len(doors)].set()
            elif tasks:
                tasks[number % len(tasks)].cancel()
            if number % 2:
                await asyncio.sleep(0)
        for door in doors:
            door.set()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, (TooManyRequests, asyncio.CancelledError))
        assert (slots.statistics().used, slots.statistics().waiting) == (0, 0)

    asyncio.run(play())


async def test_a_callers_own_limit_comes_before_everybodys() -> None:
    admission = Admission(limit=3, queue_limit=0, wait_s=NEVER_S)
    narrow = Caller("narrow", concurrency=1)
    async with admission.admit(narrow):
        with pytest.raises(TooManyRequests):
            async with admission.admit(narrow):
                pytest.fail("over the caller's own limit")
        async with admission.admit(ANYONE), admission.admit(ANYONE):
            with pytest.raises(TooManyRequests):
                async with admission.admit(ANYONE):
                    pytest.fail("over everybody's limit")
    assert admission.statistics().used == 0


async def test_the_dependency_holds_a_place_until_a_stream_has_ended() -> None:
    admission = Admission(limit=1, queue_limit=0, wait_s=NEVER_S)
    app = FastAPI(dependencies=[Depends(admission.admitted)])
    install(app)
    app.add_middleware(AuthMiddleware, keyring=Keyring(), prefix="/")
    used: list[int] = []

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def pieces():  # type: ignore[no-untyped-def]
            used.append(admission.statistics().used)
            yield "a"
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as other:
                refused = await other.get("/stream")
            yield f"{refused.status_code} {refused.headers['retry-after']}"

        return StreamingResponse(pieces())

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        assert (await client.get("/stream")).text == "a429 60"
    assert used == [1]
    assert admission.statistics().used == 0
