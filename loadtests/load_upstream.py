"""An OpenAI-compatible upstream for load: hundreds of streams from a fraction of one core.

    python -m loadtests.load_upstream PORT

The replay upstream (``eager upstream``) is an ASGI application and would be the slowest process of a load test. This
one speaks just enough HTTP/1.1, writes frames that were encoded before, and notes when it wrote each of them:
``GET /__sent`` tells these times by stream (``time.monotonic()``, which all processes of the machine share).

The model name says what to play: ``load-STREAM-KIND@TPS``, with ``max_tokens`` tokens. ``prose`` comes as content,
``code`` as a call of the tool ``python``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any, Final, cast

import msgspec

#: Of the length of a token. Not all are equal: LiteLLM takes a hundred equal ones in a row for a fault of the model.
PROSE_TOKENS: Final = ("abc ", "abcd")
#: How a token of prose begins in the JSON of any proxy: what clients count.
PROSE_MARKER: Final = b':"abc'
#: As long as a statement of the corpus is on average.
STATEMENT: Final = "total = sum(value * value for value in range(10)) + len('abcdefgh')\n"
_TOKEN_CHARS: Final = 4
TOKENS_PER_STATEMENT: Final = len(STATEMENT) // _TOKEN_CHARS

_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)

sent_s: dict[str, list[float]] = {}


class LoadUpstream(asyncio.Protocol):
    """One connection, one request after the other."""

    def __init__(self) -> None:
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._loop = asyncio.get_running_loop()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _content_length(head):
            return
        self._received = b""
        if head.startswith(b"POST"):
            self._begin(msgspec.json.decode(body))
        else:
            self._answer(msgspec.json.encode(sent_s if head.startswith(b"GET /__sent") else {"data": []}))
            if head.startswith(b"GET /__sent"):
                sent_s.clear()

    def _answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % len(body) + body)

    def _begin(self, body: dict[str, Any]) -> None:
        model = str(body["model"]).rpartition("/")[2]  # LiteLLM's models have a prefix
        name, _, rate = model.partition("@")
        _, stream, kind = name.split("-")
        self._frames = iter(frames(model, kind, int(body.get("max_tokens", 100))))
        self._times = sent_s.setdefault(stream, [])
        self._interval_s = 1 / float(rate)
        self._started = self._loop.time()
        head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        self._transport.write(head + next(self._frames))
        self._tick()

    def _tick(self) -> None:
        """Write the next token and come back when the one after it is due (EAGER Eq. 3)."""
        frame = next(self._frames)
        self._transport.write(frame)
        if frame.endswith(b"0\r\n\r\n"):
            return
        self._times.append(time.monotonic())
        due = self._started + len(self._times) * self._interval_s
        self._timer = self._loop.call_at(due, self._tick)


def frames(model: str, kind: str, tokens: int) -> list[bytes]:
    """The opening, one frame a token, and the end, as HTTP chunks."""
    opening: dict[str, Any] = {"role": "assistant"}
    deltas: list[dict[str, Any]]
    if kind == "prose":
        deltas = [{"content": PROSE_TOKENS[n % len(PROSE_TOKENS)]} for n in range(tokens)]
    else:
        function = {"name": "python", "arguments": '{"code": "'}
        opening["tool_calls"] = [{"index": 0, "id": "call_load", "type": "function", "function": function}]
        deltas = [{"tool_calls": [{"index": 0, "function": {"arguments": text}}]} for text in _code_tokens(tokens)]
    finish = "stop" if kind == "prose" else "tool_calls"
    end = _event(model, {}, finish) + b"data: [DONE]\n\n"
    return [
        _chunk(_event(model, opening, None)),
        *(_chunk(_event(model, delta, None)) for delta in deltas),
        _chunk(end) + b"0\r\n\r\n",
    ]


def _code_tokens(count: int) -> list[str]:
    """Fragments of the arguments' JSON: as many whole statements as have ``count`` tokens."""
    text = STATEMENT * (count // TOKENS_PER_STATEMENT)
    pieces = [text[at : at + _TOKEN_CHARS] for at in range(0, len(text), _TOKEN_CHARS)]
    encoded = [msgspec.json.encode(piece)[1:-1].decode() for piece in pieces]
    encoded[-1] += '"}'
    return encoded


def _event(model: str, delta: dict[str, Any], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-load", "object": "chat.completion.chunk", "created": 1, "model": model}
    return b"data: %b\n\n" % msgspec.json.encode({**head, "choices": [choice]})


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve(port: int) -> None:
    listener = await asyncio.get_running_loop().create_server(LoadUpstream, "127.0.0.1", port, backlog=1024)
    async with listener:
        await listener.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1])))
