"""Nonsense for every entry point, with a limit on what one step may take: ``python -m tests.fuzzing --seconds 600``.

What comes in (bodies, streams of an upstream, messages of a WebSocket, arguments of tools, code) is written by
``Nonsense``: pieces that mean something somewhere, repeated, nested, cut and mixed. It goes through the real gateway,
over scripted sandboxes and a scripted upstream, or through what reads it. A step is one callback of the event loop, in
CPU time of its thread. No answer may be a 500, and no exception may come out of a reader.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from starlette.types import Message

from app.errors import EagerError
from app.extraction.deltas import decode_delta
from app.extraction.turn import TurnReader
from app.sse.decoder import SSEDecoder
from tests.api.served import Served, served
from tests.extraction.readers import PREFIXES, READERS, REFUSALS, UNITS

#: The promise is 20 ms; what is found here is far beyond it, on whatever machine.
STEP_S = 0.25
#: Of one text.
MOST_CHARS = 60_000

_HEADERS = (
    *("try:return 0", "finally:", "except:", "else:", "if a:", "for i in a:", "while a:", "with a:", "def f():"),
    *("class A:", "match a:", "case b:", "async def g():", "try:\n pass\nexcept* A:"),
)
_OPENING = ("[", "(", "{", "lambda:", "f'{", "not ", "a if b else ", "[i for i in ", "a[", "-", "await ", "{'a':")
_KEYS = (
    "model",
    "messages",
    "tools",
    "input",
    "eager",
    "stream",
    "metadata",
    "n",
    "x",
    "response_format",
    "tool_choice",
)
_DEEP = 6
_PATHS = (
    *("/v1/chat/completions", "/v1/responses", "/v1/eager/completions", "/v1/sessions", "/v1/containers", "/v1/files"),
    "/v1/sessions/none/execute",
)


class Nonsense:
    """Texts and documents of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def text(self) -> str:
        choose = self.random.choice
        kind = self.random.randrange(4)
        if kind == 0:
            unit = "".join(choose(UNITS) for _ in range(self.random.randint(1, 3)))
            return unit * (self.random.randint(1, MOST_CHARS) // len(unit))
        if kind == 1:
            return "".join(choose(UNITS) for _ in range(self.random.randint(1, 400)))
        if kind == 2:
            return self.nested_code()
        opening = choose(_OPENING)
        return opening * self.random.randint(1, 400) + "a\n"

    def nested_code(self) -> str:
        """Statements in each other's suites: few lines, of which compilers make much."""
        headers = self.random.sample(_HEADERS, self.random.randint(1, 3))
        if "finally:" in headers:
            headers = ["try:return 0", "finally:"]
        lines, depth = ["def f():"], 1
        for _ in range(self.random.randint(2, 20)):
            for header in headers:
                lines.append(" " * depth + header)
            depth += 1
        return "\n".join([*lines, " " * depth + "a", "", "b=1", ""])

    def pieces(self, text: str) -> list[str]:
        size = self.random.choice((1, 7, 100, 4000, len(text) or 1))
        size = max(size, len(text) // 2000)
        return [text[at : at + size] for at in range(0, len(text), size)]

    def value(self, depth: int = 0) -> Any:
        kind = self.random.randrange(8 if depth < _DEEP else 5)
        if kind == 0:
            return self.text()[: 2000 if depth < _DEEP else 20]
        if kind == 1:
            return self.random.choice((0, -1, 1e308, 2**70, True, False, None))
        if kind in (2, 3, 4):
            return self.random.choice(("user", "python", "function", "auto", "message", "code_interpreter", ""))
        if kind == 5:
            if depth == 0 and self.random.random() < 0.3:
                return [self.value(_DEEP)] * 20_000
            return [self.value(depth + 1)] * self.random.choice((1, 3, 5))
        return {self.random.choice(_KEYS): self.value(depth + 1) for _ in range(self.random.randint(0, 5))}

    def body(self) -> bytes:
        document = {"model": "m", "messages": [{"role": "user", "content": "x"}], "input": "x", "code": self.text()}
        for _ in range(self.random.randint(0, 4)):
            document[self.random.choice(_KEYS)] = self.value()
        data = json.dumps(document).encode()
        if self.random.random() < 0.3:
            unit = self.random.choice((b"[],", b"{},", b'"a":[', b'{"type":"message","role":"user","content":"x"},'))
            data = (
                b'{"model":"m","' + self.random.choice(_KEYS).encode() + b'":[' + unit * self.random.randint(1, 60_000)
            )
            data += b"0]}"
        if self.random.random() < 0.3:
            data = data[: self.random.randrange(len(data) + 1)]
        return data

    def chunk(self, text: str) -> dict[str, Any]:
        """One event of an upstream."""
        name = self.random.choice(("python", "search", None))
        function = {"arguments": text, **({"name": name} if name else {})}
        call = {"index": self.random.choice((0, 0, 0, 1, None)), "id": "call_1", "function": function}
        delta = self.random.choice(({"content": text}, {"tool_calls": [call]}, {"reasoning_content": text}, {}))
        finish = self.random.choice((None, None, None, None, None, "stop", "tool_calls"))
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


class SlowStep(AssertionError):
    """A step took longer than it may."""


@contextmanager
def steps_limited() -> Iterator[None]:
    """Every callback of the event loop is timed."""
    run = asyncio.Handle._run
    slow: list[str] = []

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        if (took := time.thread_time() - began) > STEP_S:
            slow.append(f"{took:.2f} s: {handle!r}")

    with patch.object(asyncio.Handle, "_run", timed):
        yield
    if slow:
        raise SlowStep("; ".join(slow))


def read(nonsense: Nonsense) -> None:
    """One of the readers, alone."""
    name = nonsense.random.choice(list(READERS))
    feed = READERS[name]()
    try:
        feed(nonsense.random.choice(PREFIXES[name]))
        for piece in nonsense.pieces(nonsense.text()):
            feed(piece)
    except REFUSALS:
        return


def read_stream(nonsense: Nonsense) -> None:
    """Bytes of an upstream."""
    decoder, reader = SSEDecoder(), TurnReader(new_id=str)
    events = [nonsense.chunk(piece) for piece in nonsense.pieces(nonsense.text())]
    data = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    try:
        for piece in nonsense.pieces(data):
            for event in decoder.feed(piece.encode()):
                reader.feed(decode_delta(event.data))
        reader.flush()
    except (*REFUSALS, EagerError):
        return


def answer_with(nonsense: Nonsense, gateway: Served) -> None:
    """What the upstream says next, to whatever it is asked."""
    events = [json.dumps(nonsense.chunk(piece)) for piece in nonsense.pieces(nonsense.text())[:50]]

    async def answer() -> AsyncIterator[list[str]]:
        for event in events:
            yield [event]

    gateway.upstream._read = answer  # type: ignore[method-assign]
    gateway.upstream.document = nonsense.value()


def post(nonsense: Nonsense, gateway: Served, http: httpx.AsyncClient) -> Awaitable[None]:
    """A body for some endpoint; what the upstream answers is nonsense too."""
    answer_with(nonsense, gateway)
    path, body = nonsense.random.choice(_PATHS), nonsense.body()

    async def play() -> None:
        answer = await http.post(path, content=body, headers={"content-type": "application/json"})
        assert "internal_error" not in answer.text, f"{path}: {answer.text}"

    return play()


def push(nonsense: Nonsense, gateway: Served, http: httpx.AsyncClient) -> Awaitable[None]:
    """Messages of a WebSocket."""
    texts = nonsense.pieces(nonsense.text())[:200]
    makers: tuple[Callable[[str], str], ...] = (
        lambda text: json.dumps({"code": text}),
        lambda text: json.dumps({"chunk": nonsense.chunk(text)}),
        lambda text: text,
    )
    make = nonsense.random.choice(makers)
    messages = iter(["{}", *list(map(make, texts)), '{"end": true}'])
    closed = asyncio.Event()
    begun = False

    async def receive() -> Message:
        nonlocal begun
        if not begun:
            begun = True
            return {"type": "websocket.connect"}
        if (text := next(messages, None)) is not None:
            return {"type": "websocket.receive", "text": text}
        await closed.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        assert "internal_error" not in message.get("text", ""), message
        if message["type"] in ("websocket.close", "websocket.http.response.body"):
            closed.set()

    path = "/v1/eager/stream"
    headers = [(b"authorization", b"Bearer ka"), (b"host", b"gateway")]
    place = {"path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "subprotocols": []}
    peers = {"client": ("testclient", 1), "server": ("gateway", 80), "extensions": {"websocket.http.response": {}}}
    asgi = {"type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws"}
    return gateway.app({**asgi, **place, **peers, "headers": headers}, receive, send)


_Entry = Callable[[Nonsense, Served, httpx.AsyncClient], Awaitable[None]]


def _alone(reading: Callable[[Nonsense], None]) -> _Entry:
    async def play(nonsense: Nonsense) -> None:
        reading(nonsense)

    return lambda nonsense, gateway, http: play(nonsense)


#: What is played: it writes its nonsense when called, which is not timed, and is awaited then.
ENTRIES: dict[str, _Entry] = {"readers": _alone(read), "stream": _alone(read_stream), "body": post, "push": push}


async def fuzz(folder: Path, seeds: Iterator[int]) -> int:
    """Rounds that were played.

    Raises:
        AssertionError: with the seed that does it again.
    """
    played = 0
    async with served(folder) as gateway, gateway.http() as http:
        for seed in seeds:
            name = list(ENTRIES)[seed % len(ENTRIES)]
            try:
                entry = ENTRIES[name](Nonsense(seed), gateway, http)
                with steps_limited():
                    await asyncio.ensure_future(_awaiting(entry))
            except Exception as error:
                raise AssertionError(f"seed {seed}, {name}: {error!r}") from error
            played += 1
    return played


async def _awaiting(entry: Awaitable[None]) -> None:
    async with asyncio.timeout(60):
        await entry


def _until(seconds: float, first: int) -> Iterator[int]:
    ends = time.monotonic() + seconds
    seed = first
    while time.monotonic() < ends:
        yield seed
        seed += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="of the first round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        played = asyncio.run(fuzz(Path(folder), _until(options.seconds, options.seed)))
    sys.stdout.write(f"{played} rounds from seed {options.seed}: no step above {STEP_S:g} s\n")


if __name__ == "__main__":
    main()
