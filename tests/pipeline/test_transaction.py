"""What becomes of a checkpoint: by how the block ended, and by what the session can do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from app.errors import UpstreamBroken
from app.events import CodeEnd, CodeStart, ExecEnd, ExecOutput, Rollback
from app.sandbox.worker.execution import Execution
from app.sandbox.worker.messages import Failure, Output
from tests.fakes.session import failing
from tests.pipeline.test_run import Request


async def run(request: Request, *sources: str, end: Callable[[Request], None] | None = None) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code(*sources)
        if end is None:
            request.upstream.end_code()
            request.upstream.finish()
        else:
            end(request)


async def test_without_the_option_nothing_is_asked_of_the_session() -> None:
    request = Request()
    await run(request, "a = 1\n", "b = = 2\n")
    assert request.session.history == ["a = 1\n"]
    assert request.of(Rollback) == []


@pytest.mark.parametrize("policy", ["on_error", "on_syntax_error"])
async def test_a_block_that_ends_well_is_committed(policy: str) -> None:
    request = Request(rollback=policy)
    await run(request, "a = 1\n")
    assert request.session.history == ["checkpoint", "a = 1\n", "commit"]
    assert request.of(Rollback) == []


async def test_the_checkpoint_is_made_while_the_first_statement_is_being_written() -> None:
    request = Request(rollback="on_error")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("a = ")
        while not request.session.history:  # the queue tells the executor, which no event shows
            await asyncio.sleep(0)
        assert request.session.history == ["checkpoint"]
        request.upstream.code("1\n", id="")
        request.upstream.end_code()
        request.upstream.finish()
    assert request.session.history == ["checkpoint", "a = 1\n", "commit"]


@pytest.mark.parametrize("policy", ["on_error", "on_syntax_error"])
async def test_code_that_does_not_compile_is_undone_with_what_ran_before(policy: str) -> None:
    request = Request(rollback=policy)
    await run(request, "a = 1\n", "b = = 2\n")
    assert request.session.history == ["checkpoint", "a = 1\n", "rollback"]
    rollback = request.one(Rollback)
    assert (rollback.status, rollback.reason) == ("done", "syntax_error")
    end = request.one(CodeEnd)
    assert (end.status, end.ran) == ("error", 1)
    assert rollback.seq < end.seq


async def test_what_only_the_sandbox_finds_not_to_compile_is_undone_too() -> None:
    request = Request(rollback="on_syntax_error")
    request.session.fails["global"] = Execution(
        "error", 0, [], Failure(1, 0, "SyntaxError", "used before", "", 1, "compile")
    )
    await run(request, "a = 1\n", "global a\n")
    assert request.session.history[-1] == "rollback"
    assert request.one(Rollback).status == "done"


async def test_a_statement_that_fails_is_undone_only_on_error() -> None:
    for policy, last, told in (("on_error", "rollback", ["error"]), ("on_syntax_error", "commit", [])):
        request = Request(rollback=policy)
        request.session.fails["boom"] = failing()
        await run(request, "a = 1\n", "boom()\n")
        assert request.session.history[-1] == last
        assert [event.reason for event in request.of(Rollback)] == told


@pytest.mark.parametrize("policy", ["on_error", "on_syntax_error"])
async def test_code_that_was_cut_off_is_undone(policy: str) -> None:
    request = Request(rollback=policy)
    await run(request, "a = 1\n", "b = (", end=lambda request: request.upstream.finish("length"))
    assert request.session.history[-1] == "rollback"
    assert request.one(Rollback).reason == "incomplete"
    assert request.one(CodeEnd).status == "incomplete"


async def test_a_client_that_leaves_leaves_nothing_behind() -> None:
    request = Request(rollback="on_syntax_error")
    request.session.says["a ="] = [Output("stdout", "x")]
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(request.run())
        request.upstream.code("a = 1\n")
        await request.wait_for(ExecEnd)
        running.cancel()
    assert request.session.history == ["checkpoint", "a = 1\n", "rollback"]


async def test_a_client_that_leaves_while_code_runs_leaves_nothing_behind() -> None:
    request = Request(rollback="on_error")
    request.session.hold = "slow"
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(request.run())
        request.upstream.code("slow()\n")
        await request.session.running.wait()
        running.cancel()
    assert request.session.cancelled
    assert request.session.history[-1] == "rollback"


async def test_an_upstream_that_breaks_in_the_middle_of_code_is_told_to_be_undone() -> None:
    request = Request(rollback="on_syntax_error")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("a = 1\n")
        await request.wait_for(ExecEnd)
        request.upstream.fail(UpstreamBroken("gone"))
    assert request.session.history[-1] == "rollback"
    assert request.one(Rollback).reason == "incomplete"
    assert request.one(CodeEnd).status == "incomplete"


async def test_a_session_that_cannot_be_checkpointed_says_so_when_the_code_begins_and_runs_it() -> None:
    request = Request(rollback="on_error")
    request.session.refuses_checkpoint = "other threads are running"
    request.session.fails["boom"] = failing()
    await run(request, "boom()\n")
    assert request.session.history == ["checkpoint", "boom()\n"]
    rollback = request.one(Rollback)
    assert (rollback.status, rollback.reason) == ("impossible", "other threads are running")
    assert rollback.seq > request.one(CodeStart).seq


async def test_a_rollback_that_fails_is_told() -> None:
    request = Request(rollback="on_error")
    request.session.refuses_rollback = "the copy was killed"
    request.session.fails["boom"] = failing()
    await run(request, "boom()\n")
    rollback = request.one(Rollback)
    assert (rollback.status, rollback.reason) == ("impossible", "the copy was killed")


async def test_each_block_is_a_transaction_of_its_own() -> None:
    request = Request(rollback="on_error", on_error="continue")
    request.session.fails["boom"] = failing()
    request.session.says["fine"] = [Output("stdout", "fine")]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        request.upstream.code("boom()\n", id="one")
        request.upstream.end_code()
        request.upstream.code("fine()\n", id="two", index=1)
        request.upstream.end_code(1)
        request.upstream.finish()
    history = ["checkpoint", "boom()\n", "rollback", "checkpoint", "fine()\n", "commit"]
    assert request.session.history == history
    assert request.one(ExecOutput).text == "fine"
