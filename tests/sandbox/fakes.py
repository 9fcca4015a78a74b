"""A sandbox without a sandbox: the far end of a socket pair, which says what the test tells it to."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from app.detection.chunk import Chunk
from app.sandbox.worker.execution import Execution
from app.sandbox.worker.messages import Display, Output, Result
from app.sandbox.worker.transport import Channel, connect_socket
from app.sandbox.worker.worker import Worker
from sandbox_image.protocol import CONTROL, INTERPRETER, PROTOCOL_VERSION, FrameDecoder, encode_frame, encode_message

READY = {
    "t": "ready",
    "protocol": PROTOCOL_VERSION,
    "python": [3, 11, 7],
    "languages": ["python"],
    "workdir": "/mnt/data",
}


def chunks_of(*sources: str, first: int = 0) -> list[Chunk]:
    """Chunks of one line each."""
    return [
        Chunk(index=first + n, source=source, start=0, end=len(source), line=first + n + 1, column=0, kind="simple")
        for n, source in enumerate(sources)
    ]


class Recorder:
    """A sink that keeps what it gets. ``arrived`` is set by every message."""

    def __init__(self) -> None:
        self.messages: list[Output | Display | Result] = []
        self.arrived = asyncio.Event()

    async def __call__(self, message: Output | Display | Result) -> None:
        self.messages.append(message)
        self.arrived.set()

    def text(self, stream: str = "stdout") -> str:
        return "".join(m.text for m in self.messages if isinstance(m, Output) and m.stream == stream)


class FakeSandbox:
    """The supervisor's end of the stream."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = FrameDecoder()
        self._received: list[tuple[int, bytes]] = []

    async def next_frame(self) -> tuple[int, bytes]:
        loop = asyncio.get_running_loop()
        while not self._received:
            data = await loop.sock_recv(self._sock, 1 << 18)
            if not data:
                raise EOFError
            self._received += self._decoder.feed(data)
        return self._received.pop(0)

    async def expect(self, op: str) -> dict[str, Any]:
        """The next message, which has to be this one."""
        kind, payload = await self.next_frame()
        message: dict[str, Any] = json.loads(payload)
        assert message["op"] == op
        assert kind == (INTERPRETER if op == "execute" else CONTROL)
        return message

    async def expect_end(self) -> None:
        """The gateway closes the connection, whatever it said before."""
        try:
            while True:
                await self.next_frame()
        except (EOFError, ConnectionResetError):
            pass

    async def send_bytes(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def send(self, kind: int, payload: bytes) -> None:
        await self.send_bytes(encode_frame(kind, payload))

    async def control(self, **message: Any) -> None:
        await self.send_bytes(encode_message(CONTROL, message))

    async def say(self, **message: Any) -> None:
        await self.send_bytes(encode_message(INTERPRETER, message))

    async def ready(self) -> None:
        await self.control(**READY)

    async def done(self, id: int, *, ran: int = 1, status: str = "ok", **more: Any) -> None:
        await self.say(t="done", id=id, status=status, ran=ran, ns=[1000] * ran, **more)

    def close(self) -> None:
        self._sock.close()


class Killed:
    """What the backend would do to kill; counts."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> None:
        self.times += 1


@asynccontextmanager
async def fake_worker(**options: Any) -> AsyncIterator[tuple[Worker, FakeSandbox]]:
    """A worker that is ready, and the sandbox it talks to."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    sandbox = FakeSandbox(theirs)
    channel = Channel()
    worker = Worker(channel, id="fake-1", kill=Killed(), **options)
    try:
        await connect_socket(ours, channel)
        await sandbox.ready()
        await worker.wait_ready(5)
        yield worker, sandbox
    finally:
        await worker.close()
        sandbox.close()


async def run(
    worker: Worker,
    chunks: Sequence[Chunk],
    sink: Recorder | None = None,
    *,
    final: bool = True,
    timeout_s: float | None = 30,
    block: str = "b",
) -> Execution:
    return await worker.execute(chunks, block=block, final=final, sink=sink or Recorder(), timeout_s=timeout_s)
