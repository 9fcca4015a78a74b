"""An OpenAI-compatible server, over HTTP.

``stream`` is a context: leaving it closes the connection at once, and that is what stops generation. Inside, all events
that one network read completed come as one batch, because an ``await`` per event would cost more than reading it.

What can go wrong, and when the client may still be told by an HTTP status:

    no connection, or nothing in time      UpstreamUnreachable   before any event
    an HTTP error                          UpstreamRefused       before any event
    a cut, a stall, an end without reason  UpstreamBroken        at any time; what came before was handed on

aiohttp is used as it is: httpx over it, and a timeout around each read, took 40 us of CPU a token instead of 26.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

from app.errors import UpstreamBroken, UpstreamUnreachable
from app.extraction.deltas import decode_delta, is_error
from app.extraction.failures import broken, error_in_text, told_error
from app.extraction.whole_answer import as_document
from app.json_size import TooManyValues, check_text
from app.redaction import KeyHider
from app.upstream.allowance import Allowance, AnswerLimits
from app.upstream.batches import MAX_ANSWER_BYTES, NETWORK_ERRORS, EventBatches, Turns, too_late
from app.upstream.odd_events import events_in, is_stream
from app.upstream.refusal import refusal, reworded
from app.upstream.relay import Payload, RelayedAnswer, content_type_of, encoded_form

T = TypeVar("T")

#: A refusal is read this far.
MAX_REFUSAL_BYTES = 64 * 1024
#: Idle connections are kept shorter than uvicorn keeps them (5 s): a request on a connection
#: that the server is closing would fail.
KEEPALIVE_S = 4.0

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class Upstream:
    """One server. Headers given per call replace ours, so that a client's own ``authorization`` can be passed on.

    ``first_byte_timeout_s`` is from the request to the first byte of the answer's body, ``idle_timeout_s`` is for each
    read in it; keep-alive comments count. ``limits`` are for all of an answer.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        connect_timeout_s: float = 10,
        first_byte_timeout_s: float = 120,
        idle_timeout_s: float = 60,
        limits: AnswerLimits | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/") + "/"
        self._headers = {"accept-encoding": "identity"}
        self._key = KeyHider(api_key)
        if api_key is not None:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s)
        self._first_byte_timeout_s = first_byte_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._limits = limits or AnswerLimits()
        self._turns = Turns()
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<Upstream {self._base_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

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
        batches = EventBatches(
            _ResponseBody(response),
            is_json=response.content_type == "application/json",
            deadline=deadline,
            idle_timeout_s=self._idle_timeout_s,
            key=self._key,
            limits=self._limits,
            turns=self._turns,
        )
        try:
            yield batches
        finally:
            await batches.aclose()

    async def complete(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
        """A completion that is not streamed, as decoded JSON."""
        return await self._fetch("POST", "chat/completions", body, headers)

    async def models(self, headers: Mapping[str, str] | None = None) -> Any:
        """The list of models, as the upstream has it."""
        return await self._fetch("GET", "models", None, headers)

    @asynccontextmanager
    async def relay(
        self, path: str, payload: Payload, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[RelayedAnswer]:
        """Another of the upstream's endpoints, by its path behind the base URL; its answer as it comes, within the
        limits of all answers.

        Raises:
            UpstreamUnreachable, UpstreamRefused: nothing was answered.
            UpstreamBroken: while iterating.
        """
        deadline = self._deadline()
        response = await self._send("POST", path, payload, headers, deadline)
        pieces = self._pieces(response, deadline, self._limits)
        try:
            yield RelayedAnswer(content_type_of(response.headers.get("content-type")), pieces)
        finally:
            await pieces.aclose()
            response.close()

    async def _fetch(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str] | None
    ) -> Any:
        deadline = self._deadline()
        response = await self._send(method, path, body, headers, deadline)
        async with response:
            answer = await self._read_whole(response, deadline)
        if is_stream(answer):
            return self._put_together(answer)
        try:
            await check_text(answer)
            document = json.loads(answer)
        except TooManyValues as error:
            raise UpstreamBroken(f"the upstream's answer cannot be read: {error}") from error
        except (ValueError, RecursionError) as error:
            told = error_in_text(self._key.hide_bytes(answer).decode("utf-8", "replace"))
            words = f": {told.message}" if told is not None and told.message else ""
            raise UpstreamBroken(f"the upstream's answer is not JSON{words}") from error
        if (
            told_error(document) is not None
            and (told := told_error(json.loads(self._key.hide_bytes(answer)))) is not None
        ):
            raise broken(told)
        return document

    def _put_together(self, answer: bytes) -> Any:
        """The completion that was streamed although nobody asked for it.

        Raises:
            UpstreamBroken: it tells an error, or is no completion.
        """
        events = list(events_in(self._key.hide_bytes(answer) if b'"error"' in answer else answer))
        for data in events:
            if is_error(data):
                decode_delta(data)
        try:
            return as_document(events)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise UpstreamBroken("the upstream's answer is a stream that cannot be read") from error

    async def _send(
        self,
        method: str,
        path: str,
        body: Payload | None,
        headers: Mapping[str, str] | None,
        deadline: float,
    ) -> aiohttp.ClientResponse:
        """A response whose body is still to be read; the caller closes it."""
        given = {name.lower(): value for name, value in (headers or {}).items()}
        sent = {**self._headers, **given}
        if isinstance(body, Mapping):
            sent["content-type"] = "application/json"
        data = _maker_of(body)
        response = await _reach(self._request(method, path, data, sent), deadline)
        if 200 <= response.status < 300:
            return response
        async with response:
            answer = await _reach(_read_start(response, MAX_REFUSAL_BYTES), deadline)
        own_key = "authorization" not in given
        refused = refusal(response.status, response.headers, self._key.hide_bytes(answer), own_key=own_key)
        if isinstance(body, Mapping) and (again := reworded(body, refused)) is not None:
            return await self._send(method, path, again, headers, deadline)
        raise refused

    async def _request(
        self, method: str, path: str, data: Callable[[], bytes | aiohttp.FormData | None], headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """``data`` makes the body, which a form can be only once."""
        if self._session is None:
            self._session = _new_session(self._timeout)
        url = self._base_url + path
        try:
            return await self._session.request(method, url, data=data(), headers=headers, allow_redirects=False)
        except aiohttp.ServerDisconnectedError:
            # A kept connection that the server was closing just then; nothing of an answer has come.
            return await self._session.request(method, url, data=data(), headers=headers, allow_redirects=False)

    async def _read_whole(self, response: aiohttp.ClientResponse, deadline: float) -> bytes:
        """The body, up to our limit. It may take its time once it has begun: DeepSeek sends empty lines until there is
        an answer."""
        limits = replace(self._limits, bytes=min(self._limits.bytes, MAX_ANSWER_BYTES))
        return b"".join([piece async for piece in self._pieces(response, deadline, limits)])

    async def _pieces(
        self, response: aiohttp.ClientResponse, deadline: float, limits: AnswerLimits
    ) -> AsyncGenerator[bytes]:
        """The body as it comes, within limits."""
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        allowance = Allowance(limits)
        begun = False
        try:
            while part := await _reach(response.content.readany(), deadline):
                allowance.note_bytes(len(part), clock() - asked_at if begun else 0.0)
                if not part.isspace():
                    allowance.note_text()
                begun = True
                yield part
                asked_at = clock()
                deadline = asked_at + self._idle_timeout_s
        except UpstreamUnreachable as error:
            if not begun:
                raise
            raise UpstreamBroken("the upstream broke off its answer, or stalled") from error

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._first_byte_timeout_s


class _ResponseBody:
    """The ``Connection`` of a response."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.read = response.content.readany
        self.close = response.close


def _new_session(timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
    """No limit of connections: requests are limited where they come in. No cookies: clients share this session."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout)


def _maker_of(body: Payload | None) -> Callable[[], bytes | aiohttp.FormData | None]:
    """What makes the body of a request, again where it is sent again."""
    if body is None:
        return lambda: None
    return _encode(body).encode if isinstance(body, Mapping) else partial(encoded_form, body)


async def _reach(work: Awaitable[T], deadline: float) -> T:
    """Await what happens before the first byte, under the errors of that phase."""
    try:
        async with asyncio.timeout_at(deadline):
            return await work
    except TimeoutError as error:  # ours, or the connection's
        raise too_late() from error
    except NETWORK_ERRORS as error:
        raise UpstreamUnreachable(f"the upstream cannot be reached: {error}") from error


async def _read_start(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """The body, or its first bytes."""
    body = bytearray()
    while len(body) < limit_bytes and (part := await response.content.readany()):
        body += part
    return bytes(body[:limit_bytes])
