"""Whatever begins ends: each start among the events has its end, whatever happens to the request."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from app.errors import SandboxGone, UpstreamBroken, UpstreamRefused
from app.events import CodeEnd, CodeStart, Done, Error, Event, ExecEnd, ExecError, ExecStart, Interrupt, Start, TurnEnd
from app.sandbox.worker.execution import Execution
from tests.fakes.session import FakeSession, failing
from tests.pipeline.test_run import Request

Play = Callable[[Request], Any]


def types(events: list[Event]) -> list[str]:
    return [str(event.__struct_config__.tag) for event in events]


def check(request: Request, *, turns: int = 1) -> None:
    seen = Counter(types(request.events))
    assert seen["start"] == seen["done"] == 1
    assert seen["code.start"] == seen["code.end"]
    assert seen["turn.end"] == turns
    starts = [(event.call_id, event.batch) for event in request.of(ExecStart)]
    assert starts == [(event.call_id, event.batch) for event in request.of(ExecEnd)]
    assert [event.turn for event in request.of(TurnEnd)] == list(range(turns))
    assert isinstance(request.events[0], Start)
    assert isinstance(request.events[-1], Done)


async def play(request: Request, script: Play) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        await script(request)


async def fails(request: Request) -> None:
    request.session.fails["boom"] = failing()
    request.upstream.code("boom()\n", "x =")
    await request.upstream.closed.wait()


async def cannot_compile(request: Request) -> None:
    request.upstream.code("a = 1\n", "x = (1]\n")
    await request.upstream.closed.wait()


async def breaks(request: Request) -> None:
    request.session.hold = "slow"
    request.upstream.code("slow()\n", "x =")
    await request.session.running.wait()
    request.upstream.fail(UpstreamBroken("it was cut"))


async def sandbox_dies(request: Request) -> None:
    class Dying(FakeSession):
        async def execute(self, *args: Any, **options: Any) -> Execution:
            raise SandboxGone("killed")

    request.session = Dying()
    request.upstream.code("x = 1\n", "y =")
    await request.wait_for(Done)


async def ends_well(request: Request) -> None:
    request.upstream.code("x = 1\n")
    request.upstream.end_code()
    request.upstream.finish()


STOPPED: list[dict[str, Any]] = [{}, {"rollback": "on_error"}]
BROKEN: list[dict[str, Any]] = [*STOPPED, {"on_error": "continue"}]
WHOLE: list[dict[str, Any]] = [*BROKEN, {"mode": "serial"}]


@pytest.mark.parametrize(
    ("script", "options"),
    [
        *((script, options) for script in (fails, cannot_compile) for options in STOPPED),
        *((script, options) for script in (breaks, sandbox_dies) for options in BROKEN),
        *((ends_well, options) for options in WHOLE),
    ],
)
async def test_every_start_has_its_end(script: Play, options: dict[str, Any]) -> None:
    request = Request(**options)
    await play(request, script)
    check(request)


async def test_where_code_fails_the_order_is_the_documented_one() -> None:
    request = Request()
    await play(request, fails)
    order = [ExecError, ExecEnd, CodeEnd, Interrupt, TurnEnd, Done]
    assert [type(event) for event in request.events[-6:]] == order
    turn_end = request.one(TurnEnd)
    assert turn_end.finish_reason is None
    assert turn_end.usage["estimated"]


async def test_a_request_that_breaks_off_tells_the_error_after_all_ends() -> None:
    request = Request()
    await play(request, breaks)
    assert [type(event) for event in request.events[-5:]] == [ExecEnd, CodeEnd, TurnEnd, Error, Done]
    assert request.one(ExecEnd).status == "interrupted"


async def test_a_turn_that_came_to_its_end_tells_so_while_its_code_runs() -> None:
    request = Request()
    request.session.hold = "slow"

    async def script(request: Request) -> None:
        request.upstream.code("slow()\n")
        request.upstream.end_code()
        request.upstream.finish()
        await request.wait_for(TurnEnd)
        assert request.of(CodeEnd) == []
        request.session.release.set()

    await play(request, script)
    check(request)


async def test_every_turn_of_a_repair_has_its_end() -> None:
    request = Request(on_error="repair", max_turns=5)

    async def script(request: Request) -> None:
        await fails(request)
        request.upstream.delta({"content": "Sorry."})
        request.upstream.finish("stop")

    await play(request, script)
    check(request, turns=2)
    assert [event.finish_reason for event in request.of(TurnEnd)] == [None, "stop"]


async def test_a_turn_that_is_refused_did_not_begin() -> None:
    request = Request(on_error="repair", max_turns=5)

    async def script(request: Request) -> None:
        request.session.fails["boom"] = failing()
        request.upstream.code("boom()\n")
        await request.wait_for(CodeStart)
        request.upstream.refusal = UpstreamRefused("no", status=400, type="invalid_request_error")

    await play(request, script)
    check(request)
    assert request.one(Error).status == 400
