"""An OpenAI-compatible upstream that means harm: ``python -m loadtests.hostile_upstream PORT``. A stand-in for a model,
at the network's edge. The model's name says what it answers (``ANSWERS``)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import msgspec

_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_MODELS: Final = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"data":[]}'
_END: Final = b"0\r\n\r\n"
#: What is written to the gateway's socket at most, before it has to be read.
_PENDING_BYTES: Final = 256 * 1024
_DEPTH: Final = 14


def _bomb() -> str:
    """Nested ``finally``, of which a compiler makes 4^n copies."""
    levels = range(1, _DEPTH + 1)
    body = "".join(f"{' ' * n}try:return 0\n{' ' * n}finally:\n" for n in levels)
    return f"def f():\n{body}{' ' * (_DEPTH + 1)}a\n\nb = 1\n"


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: %b\n\n" % msgspec.json.encode({"id": "x", "object": "chat.completion.chunk", "choices": [choice]})


def _call(arguments: str, id: str | None = None) -> bytes:
    head = {"id": id, "type": "function", "function": {"name": "python", "arguments": arguments}}
    return _event({"tool_calls": [{"index": 0, **(head if id else {"function": {"arguments": arguments}})}]})


def _whole(*events: bytes, finish: str = "stop") -> Iterator[bytes]:
    yield from events
    yield _event({}, finish) + b"data: [DONE]\n\n"


def _endless(event: bytes) -> Iterator[bytes]:
    many = event * 50
    while True:
        yield many


def _code(code: str) -> Iterator[bytes]:
    return _whole(_call(json.dumps({"code": code}), id="call_1"), finish="tool_calls")


#: By the name of the model: what it says to a request that ends in the user's words.
ANSWERS: Final[dict[str, Callable[[], Iterator[bytes]]]] = {
    "brief": lambda: _whole(_event({"content": "Hello."})),
    "works": lambda: _code("print(sum(range(100)))\n"),
    "bomb": lambda: _code(_bomb()),
    "braces": lambda: _whole(_call("{1}" * 600_000, id="call_1"), finish="tool_calls"),
    "blanks": lambda: _whole(*[_event({"content": " " * 8})] * 30_000),
    "endless": lambda: _endless(_event({"content": "abcd "})),
    "empty": lambda: _endless(_event({})),
    "usage": lambda: _endless(b'data: {"choices":[],"usage":{"total_tokens":1}}\n\n'),
    "prints": lambda: _code("while True: print('x' * 1000)\n"),
}


class _HostileUpstream(asyncio.Protocol):
    """One connection, one request after the other."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._writable = asyncio.Event()
        self._writable.set()
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(_PENDING_BYTES)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answering is not None:
            self._answering.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = bytes(self._received).partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        if not end or len(body) < length:
            return
        self._received.clear()
        if not length:
            self._transport.write(
                b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"data":[]}'
            )
            return
        asked = msgspec.json.decode(body)
        goes_on = asked["messages"][-1]["role"] == "tool"
        answer = ANSWERS["brief" if goes_on else str(asked["model"])]
        self._answering = asyncio.get_running_loop().create_task(self._answer(answer()))

    async def _answer(self, events: Iterator[bytes]) -> None:
        self._transport.write(_HEAD)
        for event in events:
            await self._writable.wait()
            self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.sleep(0)
        self._transport.write(_END)


async def serve(port: int) -> None:
    listener = await asyncio.get_running_loop().create_server(_HostileUpstream, "127.0.0.1", port, backlog=1024)
    async with listener:
        await listener.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1])))
