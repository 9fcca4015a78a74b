"""The HTTP response of a pipeline: it pushes, watches for the client's leaving, and ends every story.

Why not a ``StreamingResponse`` over a generator? When the client has left, Starlette's would keep a silent sandbox
until its next event is due (measured: 5.0 s against 0.01 s). A generator that yields inside a TaskGroup would keep it
for ever. So the response owns two tasks, the pipeline and the disconnect watcher. The first to end cancels the other.

The status line is held back, for at most HOLD_S, until something follows the pipeline's first event. So an upstream
that refuses the request is an HTTP error, and not a stream with an error in it. So is a sandbox that cannot be had.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol, TypeVar

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.edge.errors import error_response, to_body, to_exception
from app.api.edge.last_resort import failure_of
from app.api.edge.request_notes import notes_of
from app.api.services import services_of
from app.errors import ClientLeft, EagerError
from app.events import Done, Error, Event, ExecOutput, ExecResult, ExecStart, Token
from app.pipeline.emitter import SendEvent

log = logging.getLogger(__name__)

HOLD_S = 10.0
#: Proxies cut idle connections after 60 s; SDKs wait 600 s.
KEEPALIVE_S = 15.0
KEEPALIVE = b": keep-alive\n\n"
#: What code may say in one answer without a stream. Each execution has a limit of its own, their number has none.
MAX_OUTPUT = 32 * 1024 * 1024
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

_T = TypeVar("_T")
#: Runs one request, handing its events to the given function.
Pipeline = Callable[[SendEvent], Awaitable[None]]


class Wire(Protocol):
    """How events look on one endpoint."""

    def encode(self, event: Event) -> bytes:
        """Bytes to write for an event; may be empty."""
        ...

    def close(self) -> bytes:
        """Bytes that end a stream."""
        ...


async def _watch_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_client_stays(receive: Receive, work: Coroutine[None, None, _T]) -> _T:
    """The result of ``work``, which is cancelled the moment the client disconnects: what is made for a client that
    does not hear of it would be held until it expires. Whoever receives the request body must be done.

    Raises:
        ClientLeft
    """
    task, watcher = asyncio.ensure_future(work), asyncio.ensure_future(_watch_disconnect(receive))
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeft("the client left")
        return task.result()
    finally:
        for each in (task, watcher):
            each.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


async def until_client_leaves(receive: Receive, work: Coroutine[None, None, None]) -> None:
    """The same, where the client's leaving is one of the ways to end."""
    try:
        await while_client_stays(receive, work)
    except ClientLeft:
        log.info("client left")


def note(scope: Scope, event: Event) -> None:
    """For errors, idempotency and metrics."""
    if isinstance(event, ExecStart):
        notes_of(scope).code_ran = True
    elif isinstance(event, Error):
        notes_of(scope).failed = True
    elif isinstance(event, Done):
        notes_of(scope).counted = True
        services_of(scope).metrics.observe(event.finish_reason, event.timing)


def count_failure(scope: Scope) -> None:
    """A request that failed without a ``done``, for want of an upstream or a sandbox, has ended, too."""
    if not notes_of(scope).counted:
        services_of(scope).metrics.observe_failure()


def failed(failure: EagerError, latest: Event | None) -> Error:
    """What is told of a failure outside of the pipeline, behind the latest event that came from there."""
    seq, t_ms = (latest.seq + 1, latest.t_ms) if latest is not None else (0, 0.0)
    return Error(error=to_body(failure), status=failure.status, seq=seq, t_ms=t_ms)


class StreamWriter:
    """The body of a streamed answer: begun with the first bytes, kept alive while there are none.

    ``held`` goes before whatever comes first.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        self.started = False
        self.held: bytes | None = None
        self._open_requests = services_of(scope).open_requests
        self._send = send
        self._writing = asyncio.Lock()
        self._last_write = 0.0

    async def write(self, data: bytes, *, last: bool = False) -> None:
        async with self._writing:
            if not self.started:
                self.started = True
                await self._send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
                data = (self.held or b"") + data
            self._last_write = asyncio.get_running_loop().time()
            await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def keep_alive(self) -> None:
        """Until it is cancelled."""
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(HOLD_S)
        while True:
            idle_s = clock() - self._last_write if self.started else KEEPALIVE_S
            if idle_s >= KEEPALIVE_S:
                await self.write(KEEPALIVE)
                idle_s = 0.0
            await asyncio.sleep(KEEPALIVE_S - idle_s)

    async def fill(self, work: Awaitable[object]) -> EagerError | None:
        """Wait for ``work``, which writes, and keep the answer alive meanwhile. Returns what went wrong."""
        async with asyncio.TaskGroup() as tasks:
            ticker = tasks.create_task(self.keep_alive())
            failure = await failure_of(self._open_requests.run(work))
            ticker.cancel()
        return failure


class EventStream(Response):
    """Streams a pipeline's events to the client as server-sent events."""

    def __init__(self, pipeline: Pipeline, wire: Wire) -> None:
        self._pipeline = pipeline
        self._wire = wire
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_client_leaves(receive, self._run(scope, receive, send))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = StreamWriter(scope, send)
        latest: Event | None = None

        async def push(event: Event) -> None:
            nonlocal latest
            latest = event
            note(scope, event)
            if isinstance(event, Error) and not writer.started:
                raise to_exception(event)
            data = self._wire.encode(event)
            if writer.held is None and not writer.started:
                writer.held = data
            elif data:
                await writer.write(data)

        failure = await writer.fill(self._pipeline(push))
        told = b""
        if failure is not None:
            count_failure(scope)
            if not writer.started:
                await error_response(failure)(scope, receive, send)
                return
            notes_of(scope).failed = True
            told = self._wire.encode(failed(failure, latest))
        await writer.write(told + self._wire.close(), last=True)


class _Collected:
    """The events of a request, without the output of its code beyond MAX_OUTPUT. ``joined``: tokens that follow each
    other are one, unless something is told of each."""

    def __init__(self, *, joined: bool) -> None:
        self._events: list[Event] = []
        self._joined = joined
        self._room = MAX_OUTPUT
        self._token: Token | None = None
        self._texts: list[str] = []  # of tokens that go on with that one

    def events(self) -> list[Event]:
        self._end_token()
        return self._events

    def add(self, event: Event) -> None:
        if self._joined and isinstance(event, Token) and event.logprobs is msgspec.UNSET:
            if self._token is None or not _is_more(event, self._token):
                self._end_token()
                self._token = event
            self._texts.append(event.text)
            return
        self._end_token()
        if isinstance(event, ExecOutput | ExecResult):
            if self._room < 0:
                return
            self._room -= len(event.text if isinstance(event, ExecOutput) else msgspec.json.encode(event.data))
            if self._room < 0:
                event = ExecOutput(
                    call_id=event.call_id,
                    batch=event.batch,
                    stream="stdout",
                    text="\n[More output was left out.]\n",
                    seq=event.seq,
                    t_ms=event.t_ms,
                )
        self._events.append(event)

    def _end_token(self) -> None:
        if self._token is not None:
            self._events.append(msgspec.structs.replace(self._token, text="".join(self._texts)))
            self._token = None
            self._texts.clear()


def _is_more(token: Token, begun: Token) -> bool:
    return (
        token.turn == begun.turn
        and token.channel == begun.channel
        and token.call_id == begun.call_id
        and token.key == begun.key
    )


class EventDocument(Response):
    """Runs a pipeline to its end and answers with one JSON document made of its events.

    ``render`` may raise an ``EagerError``: then that is the answer. ``joined``: it needs texts, not single tokens.
    """

    def __init__(self, pipeline: Pipeline, render: Callable[[list[Event]], bytes], *, joined: bool = False) -> None:
        self._pipeline = pipeline
        self._render = render
        self._joined = joined
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await until_client_leaves(receive, self._run(scope, receive, send))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        document = b""

        async def make() -> None:
            nonlocal document
            collected = _Collected(joined=self._joined)

            async def collect(event: Event) -> None:
                note(scope, event)
                collected.add(event)

            await self._pipeline(collect)
            document = self._render(collected.events())

        failure = await failure_of(services_of(scope).open_requests.run(make()))
        if failure is not None:
            count_failure(scope)
        response = Response(document, media_type="application/json") if failure is None else error_response(failure)
        await response(scope, receive, send)
