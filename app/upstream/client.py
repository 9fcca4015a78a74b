"""The completion stream of an OpenAI-compatible server.

``stream`` is a context: leaving it closes the connection at once, and that is what stops generation. Inside, all events
that one network read completed come as one batch, because an ``await`` per event would cost more than reading it.

What can go wrong, and when the client may still be told by an HTTP status:

    no connection, or nothing in time      UpstreamUnreachable   before any event
    an HTTP error                          UpstreamRefused       before any event
    a cut, a stall, an end without reason  UpstreamBroken        at any time; what came before was handed on
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from app.errors import UpstreamBroken, UpstreamUnreachable
from app.sse.decoder import EventTooLarge, ServerSentEvent, SSEDecoder
from app.sse.encoder import encode
from app.upstream.refusal import refusal
from app.upstream.whole_answer import as_delta

T = TypeVar("T")

#: A refusal is read this far, a whole answer that far.
MAX_REFUSAL_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 32 * 1024 * 1024

#: Idle connections are kept shorter than uvicorn keeps them (5 s): a request on a connection
#: that the server is closing would fail.
KEEPALIVE_S = 4.0
#: Longest wait for the end of a response behind its last event.
DRAIN_S = 0.1
NETWORK_ERRORS = (httpx.HTTPError, aiohttp.ClientError)

_DONE = "[DONE]"
_FINISH = re.compile(r'"finish_reason"\s*:\s*"')


class EventBatches:
    """Iterates over the data of the events of one answer, a list per network read. ``[DONE]`` is not among them."""

    def __init__(self, response: httpx.Response, *, first_byte_at: float, idle_timeout_s: float) -> None:
        reads = response.aiter_bytes()
        assert isinstance(reads, AsyncGenerator)
        self._reads: AsyncGenerator[bytes, None] = reads
        self._decoder = SSEDecoder()
        self._is_json = response.headers.get("content-type", "").startswith("application/json")
        self._deadline = first_byte_at
        self._idle_timeout_s = idle_timeout_s
        self._begun = False
        self._whole = False  # a finish reason or [DONE] was seen
        self._done = False  # [DONE] was seen
        self._over = False

    def __aiter__(self) -> AsyncIterator[list[str]]:
        return self

    async def __anext__(self) -> list[str]:
        while not self._over:
            data = await (self._read_json() if self._is_json else self._read())
            if data is None:
                self._over = True
                events = self._decoder.flush()
            else:
                events = self._decode(data)
            if batch := self._take(events):
                return batch
        if not self._whole:
            raise UpstreamBroken("the upstream ended its answer without a finish reason")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        if self._done:
            # The end of the response follows, and is mostly here already. With it the connection can be used again.
            with suppress(TimeoutError, *NETWORK_ERRORS):
                async with asyncio.timeout(DRAIN_S):
                    await anext(self._reads, None)
        await self._reads.aclose()

    async def _read(self) -> bytes | None:
        """The next bytes, or None at the end. What goes wrong behind a finish reason is an end, too."""
        try:
            async with asyncio.timeout_at(self._deadline):
                data = await anext(self._reads, None)
        except TimeoutError:
            if not self._begun:
                raise _too_late() from None
            if self._whole:
                return None
            raise UpstreamBroken("the upstream stalled") from None
        except NETWORK_ERRORS as error:
            if self._whole:
                return None
            raise UpstreamBroken("the upstream cut the connection") from error
        self._begun = True
        self._deadline = asyncio.get_running_loop().time() + self._idle_timeout_s
        return data

    async def _read_json(self) -> bytes:
        """An answer to a stream request that is no stream: all of it, as one event."""
        self._is_json = False
        body = bytearray()
        while (part := await self._read()) is not None:
            body += part
            if len(body) > MAX_ANSWER_BYTES:
                raise UpstreamBroken(f"the upstream's answer is longer than {MAX_ANSWER_BYTES} bytes")
        if body.lstrip().startswith(b"data:"):  # events under the wrong content type
            return bytes(body)
        return encode(as_delta(bytes(body)))

    def _decode(self, data: bytes) -> list[ServerSentEvent]:
        try:
            return self._decoder.feed(data)
        except EventTooLarge as error:
            raise UpstreamBroken(f"the upstream's stream cannot be read: {error}") from error

    def _take(self, events: list[ServerSentEvent]) -> list[str]:
        batch = []
        for event in events:
            data = event.data
            if data.startswith(_DONE):
                self._whole = self._done = self._over = True
                break
            if data:
                batch.append(data)
                self._whole = self._whole or _FINISH.search(data) is not None
        return batch


class Upstream:
    """One server. Headers given per call replace ours, so that a client's own ``authorization`` can be passed on.

    ``first_byte_timeout_s`` is from the request to the first byte of the answer's body, ``idle_timeout_s`` between two
    reads in it; keep-alive comments count.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        connect_timeout_s: float = 10,
        first_byte_timeout_s: float = 120,
        idle_timeout_s: float = 60,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._first_byte_timeout_s = first_byte_timeout_s
        self._idle_timeout_s = idle_timeout_s
        # aiohttp under httpx's API: measured ten times faster per token than httpx's own transport.
        headers = {"accept-encoding": "identity"}
        if api_key is not None:
            headers["authorization"] = f"Bearer {api_key}"
        self._client = httpx.AsyncClient(
            base_url=base_url.rstrip("/") + "/",
            headers=headers,
            transport=transport or AiohttpTransport(client=_new_session),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=httpx.Timeout(None, connect=connect_timeout_s),
        )

    def __repr__(self) -> str:
        return f"<Upstream {self._client.base_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._client.aclose()

    @asynccontextmanager
    async def stream(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[EventBatches]:
        """Start a completion. ``body`` has ``"stream": true``.

        Raises:
            UpstreamUnreachable, UpstreamRefused: nothing was generated that we know of.
            UpstreamBroken: while iterating.
        """
        deadline = self._deadline()
        response = await self._send("POST", "chat/completions", body, headers, deadline)
        try:
            batches = EventBatches(response, first_byte_at=deadline, idle_timeout_s=self._idle_timeout_s)
            try:
                yield batches
            finally:
                await batches.aclose()
        finally:
            await response.aclose()

    async def complete(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
        """A completion that is not streamed, as decoded JSON."""
        return await self._fetch("POST", "chat/completions", body, headers)

    async def models(self, headers: Mapping[str, str] | None = None) -> Any:
        """The list of models, as the upstream has it."""
        return await self._fetch("GET", "models", None, headers)

    async def _fetch(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str] | None
    ) -> Any:
        deadline = self._deadline()
        response = await self._send(method, path, body, headers, deadline)
        try:
            answer = await _reach(_read_body(response, MAX_ANSWER_BYTES), deadline)
        finally:
            await response.aclose()
        try:
            return json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise UpstreamBroken("the upstream's answer is not JSON") from error

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        deadline: float,
    ) -> httpx.Response:
        """A response whose body is still to be read; the caller closes it."""
        request = self._client.build_request(method, path, json=body, headers=headers)
        response = await _reach(self._send_request(request), deadline)
        if response.status_code == 200:
            return response
        try:
            answer = await _reach(_read_body(response, MAX_REFUSAL_BYTES), deadline)
        finally:
            await response.aclose()
        own_key = "authorization" not in {name.lower() for name in headers or ()}
        raise refusal(response.status_code, response.headers, answer, own_key=own_key)

    async def _send_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._client.send(request, stream=True)
        except httpx.TimeoutException as error:
            # A kept connection that the server was closing just then; nothing of an answer has come.
            if not isinstance(error.__cause__, aiohttp.ServerDisconnectedError):
                raise
            return await self._client.send(request, stream=True)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._first_byte_timeout_s


def _new_session() -> aiohttp.ClientSession:
    """No limit of connections: requests are limited where they come in. No cookies: clients share this session."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def _reach(work: Awaitable[T], deadline: float) -> T:
    """Await what happens before the first byte, under the errors of that phase."""
    try:
        async with asyncio.timeout_at(deadline):
            return await work
    except TimeoutError as error:
        raise _too_late() from error
    except NETWORK_ERRORS as error:
        # httpx-aiohttp calls every lost connection a ConnectTimeout; its cause knows better.
        if isinstance(error.__cause__ or error, TimeoutError | httpx.TimeoutException):
            raise _too_late() from error
        raise UpstreamUnreachable(f"the upstream cannot be reached: {error}") from error


def _too_late() -> UpstreamUnreachable:
    return UpstreamUnreachable("the upstream did not begin to answer in time", timed_out=True)


async def _read_body(response: httpx.Response, limit_bytes: int) -> bytes:
    """The body, or its first bytes."""
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) >= limit_bytes:
            break
    return bytes(body[:limit_bytes])
