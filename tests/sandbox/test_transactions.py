"""Checkpoints as the gateway sees them: the messages, against a scripted sandbox; the effects, over every backend."""

from __future__ import annotations

import asyncio

import pytest

from app.errors import SandboxGone, SessionBusy
from app.sandbox.pool import Pool
from tests.sandbox.backends import printed
from tests.sandbox.fakes import chunks_of, fake_worker, run

on_the_pool_s_loop = pytest.mark.asyncio(loop_scope="module")


async def test_a_transaction_is_three_questions_to_the_supervisor() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        for op in ("checkpoint", "rollback", "commit"):
            asking = tasks.create_task(getattr(worker, op)())
            asked = await sandbox.expect(op)
            with pytest.raises(SessionBusy):
                await worker.checkpoint()
            await sandbox.control(t="snapshot", id=asked["id"], ok=True, error=None)
            assert await asking is None


async def test_a_refusal_is_handed_on() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(worker.checkpoint())
        asked = await sandbox.expect("checkpoint")
        await sandbox.control(t="snapshot", id=asked["id"], ok=False, error="other threads are running")
        assert await asking == "other threads are running"


async def test_an_interpreter_that_died_is_forgotten_when_its_copy_goes_on() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        await sandbox.control(t="lost", id=None, ran=0, reason="signal", detail="killed by signal 9")
        await sandbox.ready()
        asking = tasks.create_task(worker.rollback())
        asked = await sandbox.expect("rollback")
        await sandbox.control(t="snapshot", id=asked["id"], ok=True, error=None)
        assert await asking is None
        running = tasks.create_task(run(worker, chunks_of("x\n")))
        executed = await sandbox.expect("execute")
        await sandbox.done(executed["id"])
        assert (await running).status == "ok"


async def test_a_copy_that_is_dead_too_is_reported_by_the_next_execution() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("x = 0\n")))
        executed = await sandbox.expect("execute")
        await sandbox.done(executed["id"])
        assert (await running).status == "ok"
        asking = tasks.create_task(worker.rollback())
        asked = await sandbox.expect("rollback")
        await sandbox.control(t="lost", id=None, ran=0, reason="signal", detail="the copy was killed")
        await sandbox.control(t="snapshot", id=asked["id"], ok=False, error="the copy was killed")
        assert await asking == "the copy was killed"
        await sandbox.ready()
        assert (await run(worker, chunks_of("x\n"))).state_lost


async def test_a_copy_that_went_on_is_lost_with_its_state() -> None:
    async with fake_worker() as (worker, sandbox), asyncio.TaskGroup() as tasks:
        await sandbox.control(t="lost", id=None, ran=0, reason="signal", detail="of a fresh one")
        await sandbox.ready()
        asking = tasks.create_task(worker.rollback())
        asked = await sandbox.expect("rollback")
        await sandbox.control(t="snapshot", id=asked["id"], ok=True, error=None)
        assert await asking is None
        await sandbox.control(t="lost", id=None, ran=0, reason="signal", detail="of the copy")
        await sandbox.ready()
        asking = tasks.create_task(worker.commit())
        asked = await sandbox.expect("commit")
        await sandbox.control(t="snapshot", id=asked["id"], ok=True, error=None)
        await asking
        assert (await run(worker, chunks_of("x\n"))).state_lost


async def test_a_dead_sandbox_answers_nothing() -> None:
    async with fake_worker() as (worker, sandbox):
        sandbox.close()
        with pytest.raises(SandboxGone):
            await worker.checkpoint()


@on_the_pool_s_loop
async def test_state_and_files_go_back_and_the_session_goes_on(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        await printed(worker, "import os\nx = [1]\nopen('kept', 'w').write('old')\n")
        assert await worker.checkpoint() is None
        await printed(worker, "x.append(2)\nopen('kept', 'w').write('new')\nopen('more', 'w').close()\n")
        assert await worker.rollback() is None
        assert await printed(worker, "print(x, open('kept').read(), os.listdir())\n") == "[1] old ['kept']\n"
        assert await worker.checkpoint() is None
        await printed(worker, "x.append(3)\n")
        await worker.commit()
        assert await printed(worker, "print(x)\n") == "[1, 3]\n"


@on_the_pool_s_loop
async def test_an_interpreter_that_dies_or_hangs_is_replaced_by_its_copy(pool: Pool) -> None:
    hostile = [
        "import os\nos.kill(os.getpid(), 9)\n",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass\n",
        "import os\nwhile True:\n    os.fork()\n",
    ]
    async with pool.checkout(60) as worker:
        await printed(worker, "x = 1\n")
        for code in hostile:
            assert await worker.checkpoint() is None
            execution = await run(worker, chunks_of(code), timeout_s=0.5)
            assert execution.status != "ok"
            assert await worker.rollback() is None, code
            assert await printed(worker, "print(x)\n") == "1\n"


@on_the_pool_s_loop
async def test_code_that_kills_all_it_can_takes_its_checkpoint_with_it_and_no_more(pool: Pool) -> None:
    async with pool.checkout(60) as worker:
        assert await worker.checkpoint() is None
        await run(worker, chunks_of("import os\nos.kill(-1, 9)\nos._exit(1)\n"))
        reason = await worker.rollback()
        assert reason is not None
        assert "killed" in reason
        # Whichever interpreter runs this is a fresh one, and that the block's was lost is known.
        assert (await run(worker, chunks_of("x = 1\n"))).status == "ok"
        assert await printed(worker, "print('alive')\n") == "alive\n"
