"""The state machine against a scripted sandbox. Deadlines are real and short; what a test waits for is an event."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.errors import SandboxGone, SandboxSilent, SandboxStartError, SessionBusy
from app.sandbox.worker.messages import Display, Output, Result
from app.sandbox.worker.outbox import HIGH_WATER
from app.sandbox.worker.states import TRANSITIONS, State
from app.sandbox.worker.worker import Worker
from sandbox_image.protocol import CONTROL, FILE, HEADER, INTERPRETER, STDERR, STDOUT, encode_frame
from tests.sandbox.fakes import FakeSandbox, Killed, Recorder, chunks_of, fake_worker, run

HASTY = {"grace_s": 0.02, "reset_s": 0.02}


async def test_code_is_sent_as_the_protocol_says_and_its_answer_comes_back_in_order() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        sink = Recorder()
        running = tasks.create_task(run(worker, chunks_of("print(1)\n", "2\n"), sink, block="call_1"))
        assert await sandbox.expect("execute") == {
            "op": "execute",
            "id": 1,
            "block": "call_1",
            "language": "python",
            "chunks": [[0, 1, 0, "print(1)\n"], [1, 2, 0, "2\n"]],
            "final": True,
        }
        await sandbox.send(STDOUT, b"1\n")
        await sandbox.send(STDERR, b"careful\n")
        await sandbox.say(t="display", id=1, data={"text/html": "<b>"})
        await sandbox.say(t="result", id=1, data={"text/plain": "2"})
        await sandbox.done(1, ran=2)
        execution = await running
        assert (execution.status, execution.ran, execution.durations_ns) == ("ok", 2, [1000, 1000])
        assert sink.messages == [
            Output("stdout", "1\n"),
            Output("stderr", "careful\n"),
            Display(id=1, data={"text/html": "<b>"}),
            Result(id=1, data={"text/plain": "2"}),
        ]
        assert worker.state is State.IDLE
        assert worker.python_version == (3, 11)


async def test_output_reaches_the_sink_while_the_code_runs() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        sink = Recorder()
        running = tasks.create_task(run(worker, chunks_of("x\n"), sink))
        await sandbox.expect("execute")
        await sandbox.send(STDOUT, b"early")
        await sink.arrived.wait()
        assert not running.done()
        await sandbox.done(1)
        assert (await running).status == "ok"


async def test_characters_cut_between_frames_are_whole_and_streams_do_not_mix() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        sink = Recorder()
        running = tasks.create_task(run(worker, chunks_of("x\n"), sink))
        await sandbox.expect("execute")
        smile = "\U0001f600".encode()
        await sandbox.send(STDOUT, smile[:2])
        await sandbox.send(STDERR, smile[:1])
        await sandbox.send(STDOUT, smile[2:] + b"\xff")
        await sandbox.send(STDERR, smile[1:])
        await sandbox.send(STDOUT, smile[:3])
        await sandbox.done(1)
        await running
        assert sink.text("stdout") == "\U0001f600\ufffd\ufffd"
        assert sink.text("stderr") == "\U0001f600"


async def test_a_character_cut_between_two_executions_of_a_block_is_whole() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        sink = Recorder()
        for id, piece in ((1, b"\xc3"), (2, b"\xa9")):
            running = tasks.create_task(run(worker, chunks_of("x\n"), sink, final=False))
            await sandbox.expect("execute")
            await sandbox.send(STDOUT, piece)
            await sandbox.done(id)
            await running
        assert sink.text() == "é"


async def test_an_error_is_reported_with_its_chunk() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("a\n", "b\n", first=4)))
        await sandbox.expect("execute")
        await sandbox.say(t="error", id=1, chunk=5, ename="NameError", evalue="b", traceback="...", line=6, phase="run")
        await sandbox.done(1, ran=1, status="error")
        execution = await running
        assert execution.status == "error"
        assert execution.failure is not None
        assert (execution.failure.chunk, execution.failure.ename, execution.failure.line) == (5, "NameError", 6)


async def test_exit_carries_its_code() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("a\n")))
        await sandbox.expect("execute")
        await sandbox.done(1, ran=0, status="exit", code=3)
        execution = await running
        assert (execution.status, execution.exit_code, execution.state_lost) == ("exit", 3, False)


async def test_late_output_is_delivered_at_the_start_of_the_next_execution() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        await sandbox.send(STDERR, b"late")
        await sandbox.say(t="display", id=1, data={})
        await answered_ping(worker, sandbox)
        sink = Recorder()
        running = tasks.create_task(run(worker, chunks_of("a\n"), sink))
        await sandbox.expect("execute")
        await sandbox.send(STDOUT, b"own")
        await sandbox.done(2)
        await running
        assert sink.messages == [Output("stderr", "late"), Output("stdout", "own")]


async def test_output_after_the_end_is_not_part_of_the_execution() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        sink = Recorder()
        running = tasks.create_task(run(worker, chunks_of("a\n"), sink))
        await sandbox.expect("execute")
        await sandbox.send_bytes(
            encode_frame(INTERPRETER, b'{"t":"done","id":1,"status":"ok","ran":1}') + encode_frame(STDOUT, b"late")
        )
        await running
        assert sink.messages == []


# ---------------------------------------------------------------- violations


def message(**fields: Any) -> bytes:
    return encode_frame(INTERPRETER, json.dumps(fields).encode())


def control(**fields: Any) -> bytes:
    return encode_frame(CONTROL, json.dumps(fields).encode())


ERROR = {"t": "error", "id": 1, "chunk": 0, "ename": "E", "evalue": "", "traceback": ""}
RESULT = {"t": "result", "id": 1, "data": {}}
DONE = {"t": "done", "id": 1, "status": "ok", "ran": 1}

VIOLATIONS = {
    "bad json": encode_frame(INTERPRETER, b"{"),
    "not the schema": message(t="done", id=1),
    "an id that is not in flight": message(**{**DONE, "id": 2}),
    "a display from the future": message(t="display", id=7, data={}),
    "unknown kind": encode_frame(9, b""),
    "frame too long": HEADER.pack(0xFFFFFFFF, STDOUT),
    "empty frame": HEADER.pack(0, STDOUT),
    "output frame too long": encode_frame(STDOUT, b"x" * 70_000),
    "two results": message(**RESULT) * 2,
    "result after error": message(**ERROR) + message(**RESULT),
    "error after result": message(**RESULT) + message(**ERROR),
    "error in a chunk that was not sent": message(**{**ERROR, "chunk": 9}),
    "done twice": message(**DONE) * 2,
    "result after done": message(**DONE) + message(**RESULT),
    "error without an error": message(**{**DONE, "status": "error"}),
    "ok after an error": message(**ERROR) + message(**DONE),
    "more chunks ran than were sent": message(**{**DONE, "ran": 2}),
    "negative count": message(**{**DONE, "ran": -1}),
    "ready out of turn": control(t="ready", protocol=1, python=[3, 11, 7], languages=[], workdir=""),
    "answer that nobody asked for": control(t="pong", id=1),
    "file data that nobody asked for": encode_frame(FILE, b"x"),
    "interpreter speaking for the supervisor": message(t="lost", reason="exit"),
    "supervisor speaking for the interpreter": control(**DONE),
}


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_a_violation_ends_the_sandbox(name: str) -> None:
    async with fake_worker() as (worker, sandbox):
        seen: list[Worker] = []
        worker.on_death = seen.append
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(outcome(worker))
            await sandbox.expect("execute")
            await sandbox.send_bytes(VIOLATIONS[name])
            await sandbox.expect_end()
            result = await running
        # A violation right behind a valid end: that execution is over, the next one finds the sandbox gone.
        assert isinstance(result, SandboxGone) or name in ("done twice", "result after done")
        assert worker.state is State.DEAD
        assert seen == [worker]
        with pytest.raises(SandboxGone, match="fake-1"):
            await run(worker, chunks_of("1\n"))


async def outcome(worker: Worker) -> object:
    try:
        return await run(worker, chunks_of("1\n"))
    except SandboxGone as gone:
        return gone


async def test_a_message_while_nothing_runs_ends_the_sandbox() -> None:
    async with fake_worker() as (worker, sandbox):
        await sandbox.done(1)
        await sandbox.expect_end()
        assert worker.death is not None
        assert "nothing runs" in worker.death


async def test_a_stream_that_ends_is_a_dead_sandbox() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(outcome(worker))
        await sandbox.expect("execute")
        sandbox.close()
        assert isinstance(await running, SandboxGone)


async def test_every_transition_leads_to_a_state_that_can_be_left() -> None:
    for (state, _), after in TRANSITIONS.items():
        assert state is not State.DEAD
        assert after is State.IDLE or any(origin is after for origin, _ in TRANSITIONS)


# --------------------------------------------------------------------- start


async def test_a_sandbox_that_does_not_get_ready_is_a_start_error() -> None:
    async with unready_worker() as (worker, _):
        with pytest.raises(SandboxStartError, match="not ready"):
            await worker.wait_ready(0.01)


async def test_a_sandbox_that_tells_its_steps_has_all_of_the_time_again_and_the_last_one_is_in_the_error() -> None:
    async with unready_worker() as (worker, sandbox):
        waiting = asyncio.ensure_future(worker.wait_ready(1000))
        while worker._waiting_for_steps is None:
            await asyncio.sleep(0)
        limit, _ = worker._waiting_for_steps
        before = limit.when()
        await sandbox.control(t="step", what="import pandas")
        while limit.when() == before:
            await asyncio.sleep(0)
        limit.reschedule(0)  # as if that time had passed
        with pytest.raises(SandboxSilent, match="nothing for 1000 s behind 'import pandas'"):
            await waiting


async def test_a_start_of_too_many_steps_and_a_step_after_it_end_the_sandbox() -> None:
    async with unready_worker() as (worker, sandbox):
        for number in range(1001):
            await sandbox.control(t="step", what=f"import {number}")
        with pytest.raises(SandboxStartError, match="1000 steps"):
            await worker.wait_ready(20)
    async with fake_worker() as (worker, sandbox):
        await sandbox.control(t="step", what="import pandas")
        while worker.death is None:
            await asyncio.sleep(0)
        assert "'step' in state idle" in worker.death


async def test_another_version_of_the_protocol_is_a_start_error() -> None:
    async with unready_worker() as (worker, sandbox):
        await sandbox.control(t="ready", protocol=99, python=[3, 11, 7], languages=[], workdir="")
        with pytest.raises(SandboxStartError, match="version 99"):
            await worker.wait_ready(5)


def unready_worker() -> Any:
    import socket
    from contextlib import asynccontextmanager

    from app.sandbox.worker.transport import Channel, connect_socket

    @asynccontextmanager
    async def make() -> AsyncIterator[tuple[Worker, FakeSandbox]]:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        channel, sandbox = Channel(), FakeSandbox(theirs)
        worker = Worker(channel, id="fake-1", kill=Killed())
        try:
            await connect_socket(ours, channel)
            yield worker, sandbox
        finally:
            await worker.close()
            sandbox.close()

    return make()


# ------------------------------------------------------------ limits and stops


async def test_a_timeout_interrupts_and_the_session_goes_on() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        sink = Recorder()
        running = tasks.create_task(run(worker, chunks_of("a\n", "b\n"), sink, timeout_s=0.02))
        await sandbox.expect("execute")
        assert (await sandbox.expect("interrupt"))["id"] == 1
        await sandbox.send(STDOUT, b"last words")
        await sandbox.done(1, ran=1, status="interrupted")
        execution = await running
        assert (execution.status, execution.ran, execution.state_lost) == ("timeout", 1, False)
        assert sink.text() == "last words"
        await completes(worker, sandbox, tasks)


async def test_code_that_ignores_the_interrupt_is_reset() -> None:
    async with fake_worker(grace_s=0.01) as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("a\n", "b\n"), timeout_s=0.01))
        await sandbox.expect("execute")
        await sandbox.expect("interrupt")
        await sandbox.expect("reset")
        await sandbox.control(t="lost", id=1, ran=1, reason="reset", detail="killed")
        await sandbox.ready()
        execution = await running
        assert (execution.status, execution.ran, execution.state_lost) == ("timeout", 1, True)
        assert execution.failure is not None
        assert (execution.failure.ename, execution.failure.chunk) == ("InterpreterKilled", 1)
        await completes(worker, sandbox, tasks)


async def test_a_sandbox_that_ignores_the_reset_dies() -> None:
    async with fake_worker(grace_s=0.01, ready_s=0.01) as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(outcome(worker))
        await sandbox.expect("execute")
        tasks.create_task(worker.interrupt())
        await sandbox.expect_end()
        assert isinstance(await running, SandboxGone)
        assert worker.death == "it does not answer a reset"


async def test_an_interrupt_from_outside_ends_with_interrupted() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("a\n")))
        await sandbox.expect("execute")
        interrupting = tasks.create_task(worker.interrupt())
        await sandbox.expect("interrupt")
        await sandbox.done(1, ran=0, status="interrupted")
        await interrupting
        assert (await running).status == "interrupted"
        await worker.interrupt()  # nothing runs: nothing is sent
        await completes(worker, sandbox, tasks)


async def test_an_end_that_crosses_the_reset_is_followed_by_the_new_interpreter() -> None:
    async with fake_worker(grace_s=0.01) as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("a\n"), timeout_s=0.01))
        await sandbox.expect("execute")
        await sandbox.expect("interrupt")
        await sandbox.expect("reset")
        await sandbox.done(1, ran=0, status="interrupted")
        await sandbox.control(t="lost", id=None, ran=0, reason="reset")
        await sandbox.ready()
        execution = await running
        assert (execution.status, execution.state_lost) == ("timeout", True)
        await completes(worker, sandbox, tasks)


async def test_a_death_that_crosses_the_reset_is_followed_by_the_second_new_interpreter() -> None:
    async with fake_worker(grace_s=0.01) as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("a\n"), timeout_s=0.01))
        await sandbox.expect("execute")
        await sandbox.expect("interrupt")
        await sandbox.expect("reset")
        await sandbox.control(t="lost", id=1, ran=0, reason="memory")
        await sandbox.ready()
        await sandbox.control(t="lost", id=None, ran=0, reason="reset")
        await sandbox.ready()
        execution = await running
        assert execution.failure is not None
        assert execution.failure.ename == "MemoryLimitExceeded"
        await completes(worker, sandbox, tasks)


async def test_output_above_the_limit_stops_the_code() -> None:
    async with fake_worker(output_limit_bytes=10) as (worker, sandbox), asyncio.TaskGroup() as tasks:
        sink = Recorder()
        running = tasks.create_task(run(worker, chunks_of("a\n", "b\n"), sink))
        await sandbox.expect("execute")
        await sandbox.send(STDOUT, b"12345678")
        await sandbox.send(STDERR, b"abcdef")
        await sandbox.expect("interrupt")
        await sandbox.send(STDOUT, b"more")
        await sandbox.done(1, ran=1, status="interrupted")
        execution = await running
        assert execution.status == "error"
        assert execution.failure is not None
        assert (execution.failure.ename, execution.failure.chunk) == ("OutputLimitExceeded", 1)
        assert (sink.text("stdout"), sink.text("stderr")) == ("12345678", "ab")
        assert worker.statistics().dropped_bytes == 8
        await completes(worker, sandbox, tasks)


async def test_rich_results_count_towards_the_limit() -> None:
    async with fake_worker(output_limit_bytes=100) as (worker, sandbox), asyncio.TaskGroup() as tasks:
        sink = Recorder()
        running = tasks.create_task(run(worker, chunks_of("a\n"), sink))
        await sandbox.expect("execute")
        await sandbox.say(t="display", id=1, data={"image/png": "A" * 200})
        await sandbox.expect("interrupt")
        await sandbox.done(1, ran=0, status="interrupted")
        execution = await running
        assert execution.failure is not None
        assert execution.failure.ename == "OutputLimitExceeded"
        assert sink.messages == []


async def test_output_between_executions_is_kept_up_to_the_limit_where_reading_cannot_be_stopped() -> None:
    async with fake_worker(output_limit_bytes=1000) as (worker, sandbox), asyncio.TaskGroup() as tasks:
        for _ in range(9):
            await sandbox.send(STDOUT, b"x" * 400)
        await answered_ping(worker, sandbox)
        sink = Recorder()
        running = tasks.create_task(run(worker, chunks_of("a\n"), sink))
        await sandbox.expect("execute")
        await sandbox.send(STDOUT, b"own")
        await sandbox.done(2)
        assert (await running).status == "ok"
        late = sink.text().removesuffix("own")
        assert 400 <= len(late) <= 1000
        assert worker.statistics().dropped_bytes == 9 * 400 - len(late)


@pytest.mark.parametrize("is_running", [True, False])
async def test_a_flood_of_displays_of_what_is_over_ends_the_sandbox(is_running: bool) -> None:
    async with fake_worker(output_limit_bytes=200) as (worker, sandbox):
        async with asyncio.TaskGroup() as tasks:
            await completes(worker, sandbox, tasks)
        running = asyncio.gather(*(run(worker, chunks_of("a\n")) for _ in range(is_running)), return_exceptions=True)
        if is_running:
            await sandbox.expect("execute")
        for _ in range(2):
            assert worker.death is None
            await sandbox.say(t="display", id=1, data={"text/plain": "x" * 80})
        async with asyncio.timeout(5):
            while worker.death is None:
                await asyncio.sleep(0.001)
        assert "displays of executions that are over" in worker.death
        assert [type(end) for end in await running] == [SandboxGone] * is_running


async def test_a_cancelled_execution_is_interrupted_and_the_session_can_be_used() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("a\n")))
        await sandbox.expect("execute")
        running.cancel()
        await sandbox.expect("interrupt")
        assert not running.done()
        await sandbox.send(STDOUT, b"nobody reads this")
        await sandbox.done(1, ran=0, status="interrupted")
        with pytest.raises(asyncio.CancelledError):
            await running
        assert worker.state is State.IDLE
        assert worker.statistics().buffered_bytes == 0
        await completes(worker, sandbox, tasks)


async def test_a_cancelled_execution_that_cannot_be_stopped_leaves_a_dead_sandbox() -> None:
    async with fake_worker(**HASTY) as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("a\n")))
        await sandbox.expect("execute")
        running.cancel()
        await sandbox.expect_end()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert worker.state is State.DEAD


async def test_a_call_cancelled_during_the_reset_is_over_soon() -> None:
    async with fake_worker(grace_s=0.01, reset_s=0.01, ready_s=60) as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("a\n"), timeout_s=0.01))
        await sandbox.expect("execute")
        await sandbox.expect("interrupt")
        await sandbox.expect("reset")
        running.cancel()
        await sandbox.expect_end()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert worker.state is State.DEAD


async def test_a_second_cancellation_kills_at_once() -> None:
    async with fake_worker(grace_s=60) as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("a\n")))
        await sandbox.expect("execute")
        running.cancel()
        await sandbox.expect("interrupt")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert worker.state is State.DEAD


async def test_cancelled_while_the_sink_is_slow_and_the_code_is_over() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        reached = asyncio.Event()

        async def stuck(message: object) -> None:
            reached.set()
            await asyncio.Event().wait()

        running = tasks.create_task(worker.execute(chunks_of("a\n"), block="b", final=True, sink=stuck, timeout_s=9))
        await sandbox.expect("execute")
        await sandbox.send(STDOUT, b"1")
        await sandbox.send(STDOUT, b"2")
        await reached.wait()
        await sandbox.done(1)
        while worker.state is not State.IDLE:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await completes(worker, sandbox, tasks)


async def test_a_sink_that_fails_stops_the_code() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:

        async def broken(message: object) -> None:
            raise OSError("client gone")

        async def attempt() -> None:
            with pytest.raises(OSError, match="client gone"):
                await worker.execute(chunks_of("a\n"), block="b", final=True, sink=broken, timeout_s=9)

        running = tasks.create_task(attempt())
        await sandbox.expect("execute")
        await sandbox.send(STDOUT, b"1")
        await sandbox.expect("interrupt")
        await sandbox.done(1, ran=0, status="interrupted")
        await running
        await completes(worker, sandbox, tasks)


# ---------------------------------------------------------------- lost state


async def test_an_interpreter_that_dies_is_reported_and_replaced() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("a\n", "b\n", "c\n", first=3)))
        await sandbox.expect("execute")
        await sandbox.control(t="lost", id=1, ran=1, reason="exit", detail="exit status 3")
        assert not running.done()
        await sandbox.ready()
        execution = await running
        assert (execution.status, execution.ran, execution.state_lost) == ("lost", 1, True)
        assert execution.failure is not None
        assert (execution.failure.ename, execution.failure.chunk, execution.failure.line) == (
            "InterpreterExit",
            4,
            None,
        )
        assert execution.failure.evalue.startswith("exit status 3")
        assert worker.statistics().interpreters_lost == 1
        await completes(worker, sandbox, tasks)


async def test_a_count_that_the_interpreter_forged_is_bounded() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("a\n")))
        await sandbox.expect("execute")
        await sandbox.control(t="lost", id=1, ran=2**60, reason="signal")
        await sandbox.ready()
        assert (await running).ran == 1


async def test_a_death_between_executions_is_told_by_the_next_one() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        await completes(worker, sandbox, tasks)
        await sandbox.control(t="lost", id=None, ran=0, reason="signal", detail="SIGSEGV")
        await sandbox.ready()
        await answered_ping(worker, sandbox)
        execution = await run(worker, chunks_of("a\n", first=2))
        assert (execution.status, execution.ran, execution.state_lost) == ("lost", 0, True)
        assert execution.failure is not None
        assert execution.failure.chunk == 2
        await completes(worker, sandbox, tasks)


async def test_the_death_of_an_interpreter_that_has_run_nothing_is_no_loss() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        await completes(worker, sandbox, tasks)
        for reason in ("exit", "signal"):  # the first loss is told, and covers the second
            await sandbox.control(t="lost", id=None, ran=0, reason=reason, detail="one")
            await sandbox.ready()
        await answered_ping(worker, sandbox)
        execution = await run(worker, chunks_of("a\n"))
        assert execution.failure is not None
        assert (execution.status, execution.failure.ename) == ("lost", "InterpreterExit")
        await sandbox.control(t="lost", id=None, ran=0, reason="signal", detail="of the unused one")
        await sandbox.ready()
        await answered_ping(worker, sandbox)
        await completes(worker, sandbox, tasks)


async def test_a_death_that_crosses_the_execution_is_followed_by_a_reset() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("a\n")))
        await sandbox.expect("execute")
        await sandbox.control(t="lost", id=None, ran=0, reason="exit", detail="exit status 1")
        await sandbox.ready()
        await sandbox.send(STDOUT, b"run by the new one")
        await sandbox.done(1)
        await sandbox.expect("reset")
        await sandbox.control(t="lost", id=None, ran=0, reason="reset")
        await sandbox.ready()
        execution = await running
        assert (execution.status, execution.state_lost) == ("lost", True)
        assert execution.failure is not None
        assert execution.failure.ename == "InterpreterExit"
        await completes(worker, sandbox, tasks)


async def test_an_execution_waits_for_the_interpreter_that_is_being_started() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        resetting = tasks.create_task(worker.reset())
        await sandbox.expect("reset")
        running = tasks.create_task(run(worker, chunks_of("a\n")))
        await sandbox.control(t="lost", id=None, ran=0, reason="reset")
        await sandbox.ready()
        await resetting
        await sandbox.expect("execute")
        await sandbox.done(1)
        assert (await running).status == "ok"


async def test_an_interpreter_that_is_not_replaced_ends_the_sandbox() -> None:
    async with fake_worker(ready_s=0.01) as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(outcome(worker))
        await sandbox.expect("execute")
        await sandbox.control(t="lost", id=1, ran=0, reason="exit")
        assert isinstance(await running, SandboxGone)


# -------------------------------------------------------------- back-pressure


async def test_a_slow_sink_stops_the_reading_and_nothing_is_lost() -> None:
    async with fake_worker(output_limit_bytes=1 << 30) as (worker, sandbox), asyncio.TaskGroup() as tasks:
        gate = asyncio.Event()
        received = 0

        async def slow(message: Output | Display | Result) -> None:
            nonlocal received
            await gate.wait()
            assert isinstance(message, Output)
            received += len(message.text)

        running = tasks.create_task(worker.execute(chunks_of("a\n"), block="b", final=True, sink=slow, timeout_s=None))
        await sandbox.expect("execute")
        frames = 80
        sent = 0

        async def flood() -> None:
            nonlocal sent
            for _ in range(frames):
                await sandbox.send(STDOUT, b"x" * 65_536)
                sent += 1
            await sandbox.done(1)

        writer = tasks.create_task(flood())
        while worker.statistics().buffered_bytes <= HIGH_WATER:
            await asyncio.sleep(0)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not writer.done()
        assert worker.statistics().buffered_bytes < HIGH_WATER + 512 * 1024
        gate.set()
        assert (await running).status == "ok"
        assert received == frames * 65_536


async def test_a_stuck_sink_does_not_delay_the_end_of_the_code() -> None:
    async with fake_worker(output_limit_bytes=1 << 30) as (worker, sandbox), asyncio.TaskGroup() as tasks:
        gate = asyncio.Event()

        async def stuck(message: object) -> None:
            await gate.wait()

        running = tasks.create_task(worker.execute(chunks_of("a\n"), block="b", final=True, sink=stuck, timeout_s=0.05))
        await sandbox.expect("execute")

        async def flood() -> None:
            for _ in range(80):
                await sandbox.send(STDOUT, b"x" * 65_536)
            await sandbox.done(1, ran=0, status="interrupted")

        tasks.create_task(flood())
        while worker.state is not State.IDLE:
            await asyncio.sleep(0)
        assert worker.statistics().dropped_bytes > 0
        assert worker.statistics().buffered_bytes < HIGH_WATER + 512 * 1024
        gate.set()
        assert (await running).status == "timeout"


# --------------------------------------------------------------------- files


async def answered_ping(worker: Worker, sandbox: FakeSandbox) -> None:
    async with asyncio.TaskGroup() as tasks:
        pinging = tasks.create_task(worker.ping())
        question = await sandbox.expect("ping")
        await sandbox.control(t="pong", id=question["id"])
        await pinging


async def completes(worker: Worker, sandbox: FakeSandbox, tasks: asyncio.TaskGroup) -> None:
    """The session serves on."""
    sink = Recorder()
    running = tasks.create_task(run(worker, chunks_of("print(1)\n"), sink))
    id = (await sandbox.expect("execute"))["id"]
    await sandbox.send(STDOUT, b"1\n")
    await sandbox.done(id)
    assert (await running).status == "ok"
    assert sink.text() == "1\n"


async def test_a_file_is_put_in_frames_of_bounded_size() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:

        async def source() -> AsyncIterator[bytes]:
            yield b"a" * 100_000
            yield b"b"

        putting = tasks.create_task(worker.put_file("d/x.csv", 100_001, source()))
        question = await sandbox.expect("put")
        assert (question["path"], question["size"]) == ("d/x.csv", 100_001)
        received = b""
        while len(received) < 100_001:
            kind, data = await sandbox.next_frame()
            assert kind == FILE
            assert len(data) <= 65_536
            received += data
        assert received == b"a" * 100_000 + b"b"
        await sandbox.control(t="file", id=question["id"], ok=True, size=100_001)
        assert (await putting).ok
        await completes(worker, sandbox, tasks)


async def test_an_upload_that_breaks_off_ends_the_sandbox() -> None:
    async with fake_worker() as (worker, _):

        async def source() -> AsyncIterator[bytes]:
            yield b"only this"

        with pytest.raises(ValueError, match="announced"):
            await worker.put_file("x", 100, source())
        assert worker.state is State.DEAD


async def test_a_file_is_got_in_order() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        pieces: list[bytes] = []

        async def sink(piece: bytes) -> None:
            pieces.append(piece)

        getting = tasks.create_task(worker.get_file("x", limit_bytes=100, sink=sink))
        question = await sandbox.expect("get")
        with pytest.raises(SessionBusy):
            await run(worker, chunks_of("1\n"))
        await sandbox.send(FILE, b"one")
        await sandbox.send(FILE, b"two")
        await sandbox.control(t="file", id=question["id"], ok=True, size=6)
        assert (await getting).size == 6
        assert pieces == [b"one", b"two"]
        await completes(worker, sandbox, tasks)


async def test_a_download_that_is_left_keeps_the_session() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        reached = asyncio.Event()

        async def sink(piece: bytes) -> None:
            reached.set()
            await asyncio.Event().wait()

        getting = tasks.create_task(worker.get_file("x", limit_bytes=100, sink=sink))
        question = await sandbox.expect("get")
        await sandbox.send(FILE, b"one")
        await reached.wait()
        getting.cancel()
        await sandbox.send(FILE, b"two")
        await sandbox.control(t="file", id=question["id"], ok=True, size=6)
        with pytest.raises(asyncio.CancelledError):
            await getting
        await completes(worker, sandbox, tasks)


async def test_more_file_data_than_asked_for_ends_the_sandbox() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:

        async def sink(piece: bytes) -> None:
            raise AssertionError("nothing of it may be delivered")

        async def attempt() -> None:
            with pytest.raises(SandboxGone):
                await worker.get_file("x", limit_bytes=3, sink=sink)

        getting = tasks.create_task(attempt())
        await sandbox.expect("get")
        await sandbox.send(FILE, b"four")
        await getting


async def test_files_are_listed_and_removed() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        listing = tasks.create_task(worker.list_files(10))
        question = await sandbox.expect("list")
        entry = {"path": "a", "size": 1, "mtime_ns": 5}
        await sandbox.control(t="file", id=question["id"], ok=True, entries=[entry], truncated=True)
        reply = await listing
        assert reply.entries is not None
        assert (reply.entries[0].path, reply.truncated) == ("a", True)
        removing = tasks.create_task(worker.remove_file("a"))
        question = await sandbox.expect("remove")
        await sandbox.control(t="file", id=question["id"], ok=False, error="no such file")
        assert (await removing).error == "no such file"


async def test_a_supervisor_that_does_not_answer_is_dead() -> None:
    async with fake_worker(answer_s=0.01) as (worker, _):
        with pytest.raises(SandboxGone, match="did not answer"):
            await worker.ping()


async def test_closing_kills_once() -> None:
    async with fake_worker() as (worker, _):
        await asyncio.gather(worker.close(), worker.close())
        await worker.close()
        kill = worker._kill
        assert isinstance(kill, Killed)
        assert kill.times == 1


async def test_the_place_of_a_worker_is_free_once_its_end_was_tried_even_if_it_resists() -> None:
    async with fake_worker() as (worker, _):
        freed: list[object] = []
        worker.on_closed = freed.append

        async def resist() -> None:
            raise OSError("device or resource busy")

        kill, worker._kill = worker._kill, resist
        with pytest.raises(OSError, match="busy"):
            await worker.close()
        assert freed == [worker]
        worker._kill = kill


async def test_a_worker_that_is_given_up_is_dead_whatever_its_stream_says() -> None:
    async with fake_worker() as (worker, _), asyncio.TaskGroup() as tasks:
        died: list[object] = []
        worker.on_death = died.append

        async def attempt() -> None:
            with pytest.raises(SandboxGone, match="its engine does not answer"):
                await run(worker, chunks_of("1\n"), timeout_s=None)

        tasks.create_task(attempt())
        await asyncio.sleep(0)
        worker.give_up("its engine does not answer")
        assert died == [worker]


async def test_a_second_close_waits_for_the_first_and_kills_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_worker() as (worker, _):
        killed = 0
        held, go_on = asyncio.Event(), asyncio.Event()

        async def kill() -> None:
            nonlocal killed
            killed += 1
            held.set()
            await go_on.wait()

        monkeypatch.setattr(worker, "_kill", kill)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.close())
            await held.wait()
            second = tasks.create_task(worker.close())
            await asyncio.sleep(0)  # it has begun
            assert not second.done()
            go_on.set()
        assert killed == 1
