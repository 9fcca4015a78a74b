"""Many streams at once, read as cheaply as possible: arrival times of tokens, and nothing is decoded."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlsplit

import msgspec

_HEAD: Final = b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"


@dataclass
class Stream:
    """What came of one request. ``arrived_s`` has a time for each token (``time.monotonic()``)."""

    id: str
    asked_s: float = 0.0
    arrived_s: list[float] = field(default_factory=list)
    ended: bool = False
    status: bytes = b""


class LoadClient(asyncio.Protocol):
    """One stream. A token is an occurrence of ``marker``; ``last`` ends the answer."""

    def __init__(self, stream: Stream, request: bytes, marker: bytes, last: bytes) -> None:
        self.over = asyncio.get_running_loop().create_future()
        self._stream = stream
        self._request = request
        self._marker = marker
        self._last = last
        # A marker may be cut in two; this much of the end is looked at again, and is too short to hold a whole one.
        self._keep = len(marker) - 1
        self._rest = b""
        assert len(last) <= len(marker)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._stream.asked_s = time.monotonic()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        stream = self._stream
        if not stream.status:
            stream.status = data[:12]
        data = self._rest + data
        stream.arrived_s += [now] * data.count(self._marker)
        self._rest = data[-self._keep :]
        if self._last in data:
            stream.ended = True
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def run_streams(
    url: str,
    bodies: dict[str, dict[str, Any]],
    *,
    marker: bytes,
    last: bytes,
    spread_s: float,
    limit_s: float,
    key: str | None = None,
) -> list[Stream]:
    """One stream for each body (by id), begun evenly over ``spread_s``; after ``limit_s`` what is open is cut."""
    streams = [Stream(id) for id in bodies]
    target = urlsplit(url)
    assert target.hostname is not None
    assert target.port is not None
    address, loop = (target.hostname, target.port), asyncio.get_running_loop()
    authorization = f"authorization: Bearer {key}\r\n".encode() if key else b""

    async def play(place: int, stream: Stream) -> None:
        await asyncio.sleep(spread_s * place / len(streams))
        body = msgspec.json.encode(bodies[stream.id])
        request = _HEAD % (target.path.encode(), target.netloc.encode(), authorization, len(body)) + body
        transport, client = await loop.create_connection(lambda: LoadClient(stream, request, marker, last), *address)
        try:
            await client.over
        finally:
            transport.abort()

    try:
        async with asyncio.timeout(limit_s), asyncio.TaskGroup() as tasks:
            for place, stream in enumerate(streams):
                tasks.create_task(play(place, stream))
    except TimeoutError:
        pass  # the streams tell how far they came
    return streams
