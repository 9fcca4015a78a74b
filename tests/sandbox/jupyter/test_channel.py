"""The supervisor's part, over a kernel that says what the test tells it to."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from app.errors import SandboxStartError
from app.sandbox.jupyter.channel import KernelChannel
from app.sandbox.jupyter.kernel import KernelMessage, KernelRequest, KernelSocket, Listener
from app.sandbox.worker.messages import Display, Output, Result
from app.sandbox.worker.worker import Worker
from sandbox_image.kernel import DATA_MIME, MESSAGE_MIME, PROGRESS_MIME
from sandbox_image.protocol import PROTOCOL_VERSION
from tests.sandbox.fakes import Recorder, chunks_of, run

READY = {"t": "ready", "protocol": PROTOCOL_VERSION, "python": [3, 11, 7], "languages": ["python"], "workdir": "/x"}


class FakeKernel:
    """Implements ``Kernel``; ``expect`` gives what it was sent."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.killed = self.closed = False
        self._requests: asyncio.Queue[tuple[KernelSocket, KernelRequest]] = asyncio.Queue()
        self._parent = ""

    def send(self, channel: KernelSocket, request: KernelRequest) -> None:
        self._requests.put_nowait((channel, request))

    def kill(self) -> None:
        self.killed = True

    async def close(self) -> None:
        self.closed = True

    async def expect(self, type: str, text: str = "") -> KernelRequest:
        channel, request = await self._requests.get()
        assert request["header"]["msg_type"] == type
        assert channel == ("control" if type == "interrupt_request" else "shell")
        if type == "comm_msg":
            assert request["content"]["data"]["op"] == text
        else:
            assert text in request["content"].get("code", "")
        self._parent = request["header"]["msg_id"]
        return request

    def say(self, type: str, *, channel: KernelSocket = "iopub", parent: str | None = None, **content: Any) -> None:
        message = {
            "header": {"msg_type": type, "msg_id": "x"},
            "parent_header": {"msg_id": self._parent if parent is None else parent},
            "content": content,
            "channel": channel,
        }
        self.listener.hear(msgspec.convert(message, KernelMessage))

    def show(self, mime: str, content: object) -> None:
        text = json.dumps(content) if mime == MESSAGE_MIME else content
        self.say("display_data", data={mime: text}, metadata={})

    def idle(self, parent: str | None = None) -> None:
        self.say("status", parent=parent, execution_state="idle")

    async def boot(self) -> None:
        await self.expect("kernel_info_request")
        self.idle()
        await self.expect("execute_request", "exec(")
        self.show(MESSAGE_MIME, READY)
        self.idle()

    def done(self, id: int, *, ran: int = 1, status: str = "ok") -> None:
        self.show(MESSAGE_MIME, {"t": "done", "id": id, "status": status, "ran": ran, "ns": [1] * ran})
        self.idle()


class Kernels:
    """Each kernel that was opened, in order."""

    def __init__(self) -> None:
        self._opened: asyncio.Queue[FakeKernel] = asyncio.Queue()

    async def open(self, listener: Listener) -> FakeKernel:
        kernel = FakeKernel(listener)
        self._opened.put_nowait(kernel)
        return kernel

    async def next(self) -> FakeKernel:
        return await self._opened.get()


@asynccontextmanager
async def kernel_worker(kernels: Kernels, **options: Any) -> AsyncIterator[tuple[Worker, FakeKernel]]:
    channel = KernelChannel(kernels.open, folder=None, start_timeout_s=10)
    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(channel.run())

        async def kill() -> None:
            life.cancel()

        worker = Worker(channel, id="kernel-1", kill=kill, **options)
        kernel = await kernels.next()
        await kernel.boot()
        await worker.wait_ready(5)
        try:
            yield worker, kernel
        finally:
            await worker.close()
    assert kernel.closed


async def test_what_a_kernel_publishes_becomes_output_displays_and_a_result() -> None:
    async with kernel_worker(Kernels()) as (worker, kernel), asyncio.TaskGroup() as tasks:
        sink = Recorder()
        running = tasks.create_task(run(worker, chunks_of("1\n"), sink))
        await kernel.expect("comm_msg", "execute")
        kernel.show(PROGRESS_MIME, "0")
        kernel.say("stream", name="stdout", text="é")
        kernel.say("stream", name="stderr", text="warning")
        kernel.say("display_data", data={"text/html": "<b>"}, metadata={})
        kernel.show(MESSAGE_MIME, {"t": "result", "id": 1, "data": {"text/plain": "1"}, "metadata": {}})
        kernel.done(1)
        assert (await running).status == "ok"
        assert sink.messages == [
            Output("stdout", "é"),
            Output("stderr", "warning"),
            Display(1, {"text/html": "<b>"}),
            Result(1, {"text/plain": "1"}),
        ]


async def test_an_execution_is_over_only_when_its_call_is_idle_and_interrupts_were_answered() -> None:
    async with kernel_worker(Kernels(), grace_s=30.0) as (worker, kernel), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("1\n")))
        call = await kernel.expect("comm_msg", "execute")
        stopping = tasks.create_task(worker.interrupt())
        await asyncio.sleep(0)
        kernel.show(PROGRESS_MIME, "0")  # the interrupt was held back until now
        await kernel.expect("interrupt_request")
        kernel.show(MESSAGE_MIME, {"t": "done", "id": 1, "status": "interrupted", "ran": 0, "ns": [1]})
        kernel.idle(parent=call["header"]["msg_id"])
        await asyncio.sleep(0)
        assert not running.done()
        kernel.say("interrupt_reply", channel="control", status="ok")
        assert (await running).status == "interrupted"
        await stopping


async def test_a_kernel_that_dies_is_replaced_and_what_had_run_is_told() -> None:
    kernels = Kernels()
    async with kernel_worker(kernels) as (worker, kernel), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("1\n", "2\n")))
        await kernel.expect("comm_msg", "execute")
        kernel.show(PROGRESS_MIME, "1")
        kernel.listener.end("signal", "killed by signal 9")
        second = await kernels.next()
        assert kernel.closed
        await second.boot()
        execution = await running
        assert (execution.status, execution.ran, execution.state_lost) == ("lost", 1, True)
        assert execution.failure is not None
        assert execution.failure.ename == "InterpreterKilled"


@pytest.mark.parametrize("state", ["restarting", "dead"])
async def test_a_kernel_that_its_server_restarts_is_lost(state: str) -> None:
    kernels = Kernels()
    async with kernel_worker(kernels) as (worker, kernel), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("1\n")))
        await kernel.expect("comm_msg", "execute")
        kernel.say("status", execution_state=state)
        await (await kernels.next()).boot()
        assert (await running).status == "lost"
        assert kernel.killed


async def test_a_cell_that_ends_without_a_word_has_broken_its_kernel() -> None:
    kernels = Kernels()
    async with kernel_worker(kernels) as (worker, kernel), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("1\n")))
        await kernel.expect("comm_msg", "execute")
        kernel.say("error", ename="KeyError", evalue="'sandbox_image.kernel'")
        kernel.idle()
        await (await kernels.next()).boot()
        execution = await running
        assert execution.status == "lost"
        assert execution.failure is not None
        assert "KeyError" in execution.failure.evalue


async def test_code_that_does_not_stop_costs_the_kernel() -> None:
    kernels = Kernels()
    async with kernel_worker(kernels, grace_s=0.01) as (worker, kernel), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(worker, chunks_of("1\n"), timeout_s=0.01))
        await kernel.expect("comm_msg", "execute")
        second = await kernels.next()
        assert kernel.killed
        await second.boot()
        execution = await running
        assert (execution.status, execution.state_lost) == ("timeout", True)


async def test_a_kernel_without_ipython_is_a_failed_start() -> None:
    kernels = Kernels()
    channel = KernelChannel(kernels.open, folder=None, start_timeout_s=10)
    async with asyncio.TaskGroup() as tasks:

        async def kill() -> None:
            pass

        worker = Worker(channel, id="kernel-1", kill=kill)
        tasks.create_task(channel.run())
        kernel = await kernels.next()
        await kernel.expect("kernel_info_request")
        kernel.idle()
        await kernel.expect("execute_request", "exec(")
        kernel.say("error", ename="NameError", evalue="get_ipython")
        kernel.idle()
        with pytest.raises(SandboxStartError, match="NameError: get_ipython"):
            await worker.wait_ready(5)
    assert kernel.closed


async def test_a_file_is_fetched_piece_by_piece() -> None:
    async with kernel_worker(Kernels()) as (worker, kernel), asyncio.TaskGroup() as tasks:
        pieces: list[bytes] = []

        async def sink(piece: bytes) -> None:
            pieces.append(piece)

        fetching = tasks.create_task(worker.get_file("a", limit_bytes=1 << 20, sink=sink))
        await kernel.expect("comm_msg", "get")
        kernel.show(DATA_MIME, base64.b64encode(b"x" * 100_000).decode())
        kernel.idle()
        await kernel.expect("comm_msg", "more")
        kernel.show(MESSAGE_MIME, {"t": "file", "id": 1, "ok": True, "size": 100_000})
        kernel.idle()
        assert (await fetching).ok
        assert b"".join(pieces) == b"x" * 100_000


@pytest.mark.parametrize("data", ["AAA", "\u00e9"])
async def test_data_that_is_not_base64_costs_the_kernel_and_not_the_reading_of_others(data: str) -> None:
    kernels = Kernels()
    async with kernel_worker(kernels) as (worker, kernel):
        kernel.show(DATA_MIME, data)
        await (await kernels.next()).boot()
        await worker.wait_ready(5)


async def test_a_late_message_of_a_kernel_that_was_replaced_is_not_heard() -> None:
    kernels = Kernels()
    async with kernel_worker(kernels) as (worker, kernel), asyncio.TaskGroup() as tasks:
        kernel.listener.end("exit", "exit status 0")
        kernel.say("stream", name="stdout", text="late")
        second = await kernels.next()
        await second.boot()
        await worker.wait_ready(5)
        sink = Recorder()
        running = tasks.create_task(run(worker, chunks_of("1\n"), sink))
        await second.expect("comm_msg", "execute")
        second.show(PROGRESS_MIME, "0")
        second.done(worker.statistics().executions)
        assert (await running).status == "ok"
        assert sink.messages == []
