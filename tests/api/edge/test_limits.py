"""Rates and places in line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from limits.aio.storage import MemoryStorage
from starlette.responses import StreamingResponse

from app.api.edge.auth import ANYONE, AuthMiddleware, Caller, Keyring
from app.api.edge.errors import install
from app.api.edge.limits import Admission, AdmissionMiddleware, RateLimiter, Slots
from app.errors import TooManyRequests
from app.usage import used_by_request

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


async def _hold_once(slots: Slots, key: str = "") -> None:
    async with slots.slot(key):
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


def guarded(admission: Admission, *keys: str) -> FastAPI:
    """Of keys, or of anybody; to be given routes under /v1/."""
    app = FastAPI()
    install(app)
    app.add_middleware(AdmissionMiddleware, admission=admission)
    app.add_middleware(AuthMiddleware, keyring=Keyring(keys))
    return app


def client_of(app: FastAPI, key: str = "none") -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway", headers=headers)


async def test_a_place_is_held_until_a_stream_has_ended() -> None:
    admission = Admission(limit=1, queue_limit=0, wait_s=NEVER_S)
    app = guarded(admission)
    used: list[int] = []

    @app.get("/v1/stream")
    async def stream() -> StreamingResponse:
        async def pieces():  # type: ignore[no-untyped-def]
            used.append(admission.statistics().used)
            yield "a"
            async with client_of(app) as other:
                refused = await other.get("/v1/stream")
            yield f"{refused.status_code} {refused.headers['retry-after']}"

        return StreamingResponse(pieces())

    async with client_of(app) as client:
        assert (await client.get("/v1/stream")).text == "a429 60"
    assert used == [1]
    assert admission.statistics().used == 0


async def test_a_body_that_is_being_sent_holds_a_place() -> None:
    admission = Admission(limit=1, queue_limit=0, wait_s=NEVER_S)
    app = guarded(admission)

    @app.post("/v1/echo")
    async def echo(body: dict[str, str]) -> dict[str, str]:
        return body

    async def slowly() -> AsyncIterator[bytes]:
        assert admission.statistics().used == 1
        async with client_of(app) as other:
            assert (await other.post("/v1/echo", json={})).status_code == 429
        yield b"{}"

    async with client_of(app) as client:
        answer = await client.post("/v1/echo", content=slowly(), headers={"content-type": "application/json"})
    assert answer.json() == {}


async def test_who_comes_while_another_key_floods_is_served_at_once_and_the_flood_waits_in_its_own_line() -> None:
    slots = Slots(8, queue_limit=8, wait_s=NEVER_S, fraction=lambda key: 0.5)
    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as held:
        for _ in range(6):  # all but the reserve
            await held.enter_async_context(slots.slot("flood"))
        flood = [tasks.create_task(_hold_once(slots, "flood")) for _ in range(6)]
        await until_waiting(slots, 6)
        with pytest.raises(TooManyRequests):  # the rest of the line, too, is for others
            async with slots.slot("flood"):
                pytest.fail("it has its part of the line")
        async with asyncio.timeout(20):
            for _ in range(2):
                await held.enter_async_context(slots.slot("calm"))
            late = tasks.create_task(_hold_once(slots, "calm"))
            await until_waiting(slots, 7)
            await held.aclose()
            await late
            await asyncio.gather(*flood)
    assert (slots.statistics().used, slots.statistics().waiting) == (0, 0)


async def test_what_a_request_has_used_is_charged_when_it_has_ended() -> None:
    admission = Admission(limit=2, queue_limit=0, wait_s=NEVER_S)
    caller = Caller("app", tokens_per_minute=100, cpu_seconds_per_minute=2)
    async with admission.admit(caller):
        used_by_request().tokens += 60
    async with admission.admit(caller):
        used_by_request().tokens += 60  # one may go beyond
    with pytest.raises(TooManyRequests, match="100 tokens per minute") as refused:
        async with admission.admit(caller):
            pytest.fail("beyond its tokens")
    assert 1 <= int(refused.value.headers["retry-after"]) <= 60
    other = Caller("other", cpu_seconds_per_minute=2)
    async with admission.admit(other):
        assert used_by_request().meters_cpu
        used_by_request().cpu_s += 2.5
    with pytest.raises(TooManyRequests, match="2 seconds of CPU per minute"):
        async with admission.admit(other):
            pytest.fail("beyond its CPU time")
    async with admission.admit(ANYONE):
        assert not used_by_request().meters_cpu
