"""What is told of an execution, however it ends."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from app.errors import SandboxGone
from app.pipeline.accounting import execute
from app.sandbox.worker.messages import Failure
from app.usage import ExecutionRecord, Used, begin_counting
from tests.fakes.session import Execution, FakeSession
from tests.sandbox.fakes import Recorder, chunks_of


def counting(*, meters_cpu: bool = False) -> tuple[Used, list[ExecutionRecord]]:
    records: list[ExecutionRecord] = []
    used = Used(key="app", request="req_1", meters_cpu=meters_cpu, on_execution=records.append)
    begin_counting(used)
    return used, records


async def run(session: FakeSession, *sources: str) -> Execution:
    how = {"block": "b", "final": True, "sink": Recorder(), "timeout_s": None}
    return await execute(session, chunks_of(*sources), name="ses_1", language="python", **how)


async def test_an_execution_is_told_with_the_hash_of_its_code() -> None:
    _, records = counting()
    failure = Failure(id=1, chunk=1, ename="E", evalue="", traceback="")
    session = FakeSession(fails={"boom": Execution("error", 1, failure=failure)})
    await run(session, "x = 1\n", "boom\n")
    (record,) = records
    assert (record.key, record.request, record.session, record.sandbox) == ("app", "req_1", "ses_1", session.id)
    assert (record.language, record.outcome) == ("python", "error")
    assert record.sha256 == hashlib.sha256(b"x = 1\nboom\n").hexdigest()
    assert record.seconds >= 0
    await run(session)  # the end of a block, without a statement
    assert len(records) == 1


async def test_a_client_that_leaves_is_charged_for_the_time_it_took() -> None:
    used, records = counting(meters_cpu=True)
    session = FakeSession(hold="wait")
    task = asyncio.get_running_loop().create_task(run(session, "wait\n"))
    await session.running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [record.outcome for record in records] == ["interrupted"]
    assert used.cpu_s > 0


async def test_cpu_time_is_the_sandboxes_word_or_wall_time_where_it_has_none() -> None:
    used, _ = counting(meters_cpu=True)
    await run(FakeSession(cpu=iter([1.0, 3.5])), "x\n")
    assert used.cpu_s == 2.5
    await run(FakeSession(), "x\n")
    assert 2.5 < used.cpu_s < 60


async def test_a_sandbox_that_fails_is_told_too() -> None:
    _, records = counting()

    class Gone(FakeSession):
        async def execute(self, *_: object, **__: object) -> Execution:
            raise SandboxGone("killed")

    with pytest.raises(SandboxGone):
        await run(Gone(), "x\n")
    assert [record.outcome for record in records] == ["failed"]
