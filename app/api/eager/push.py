"""``/v1/eager/stream``: a WebSocket for apps that call their model themselves.

The app pushes what it receives, while it receives it; its code runs here as it would behind ``/v1/eager/completions``,
and the same events come back, while the app is still sending. Messages are JSON objects:

    app      {"eager": {...}, "language": "python"}   first; the options of a request, all of them optional
             {"code": "x = 1\\n"}                      more of a program, split anywhere
             {"chunk": {...}}                         or: a ``chat.completion.chunk``, as the model's server sent it
             {"end": true}                            that was all: what comes behind it is not read
    gateway  {"type": "start", ...} ... {"type": "done", ...}, then it closes

``interrupt`` tells the app that it can stop its model. Closing the connection stops the code.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Literal

import msgspec
from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from app.api.edge.auth import AuthenticatedCaller, Caller
from app.api.edge.last_resort import failure_of
from app.api.edge.validation import validated
from app.api.event_stream import failed
from app.api.model_requests import ModelRequest
from app.api.schemas import EagerOptions
from app.api.services import InjectedServices, Services
from app.api.wellformed import well_formed
from app.errors import RequestError, ShuttingDown, UpstreamBroken
from app.events import Done, Event
from app.ids import new_id
from app.json_size import TooManyValues, check_text

log = logging.getLogger(__name__)

#: Longest wait for the app's first message, and for its next one. One without text (``{"code": ""}``) counts.
FIRST_S = 10.0
SILENCE_S = 120.0
#: Messages read ahead of generation: while it waits for code, we still hear that the app has left.
READ_AHEAD = 16

NORMAL, REFUSED, FAILED, RESTARTING = 1000, 1008, 1011, 1012

#: What code without a call around it is said to be.
CALL_ID = "push"
TOOL = "eager_pushed_code"

router = APIRouter()
_encode = msgspec.json.Encoder().encode


class PushRequest(BaseModel):
    """The first message."""

    model_config = ConfigDict(extra="forbid")

    eager: EagerOptions = Field(default_factory=EagerOptions)
    language: Literal["python", "bash"] = "python"
    model: str = ""

    _mend = model_validator(mode="before")(well_formed)


@router.websocket("/v1/eager/stream")
async def push(socket: WebSocket, caller: AuthenticatedCaller, services: InjectedServices) -> None:
    await socket.accept()
    await _Push(socket, caller, services).run()


class _AppLeft(Exception):
    """Ends the task group when the app has gone."""


class _Push:
    """One connection: a task that listens, and the request that reads what was heard."""

    def __init__(self, socket: WebSocket, caller: Caller, services: Services) -> None:
        self._socket = socket
        self._caller = caller
        self._services = services
        self._inbox = Inbox()
        self._latest: Event | None = None

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                listener = tasks.create_task(self._listen())
                code = await self._serve()
                listener.cancel()
                with suppress(WebSocketDisconnect):
                    await self._socket.close(code)
        except* _AppLeft:
            log.info("app left")

    async def _listen(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise _AppLeft
            await self._inbox.put(message)

    async def _serve(self) -> int:
        """The request, to its end; returns how to close."""
        failure = await failure_of(self._services.open_requests.run(self._request()))
        if failure is None:
            return NORMAL
        self._services.metrics.observe_failure()
        await self._send(failed(failure, self._latest))
        match failure:
            case RequestError():
                return REFUSED
            case ShuttingDown():
                return RESTARTING
        return FAILED

    async def _request(self) -> None:
        first = await self._open()
        asked = ModelRequest.of(self._socket, self._services, self._caller, model=first.model, options=first.eager)
        _require_one_turn(asked.options)
        options = asked.run_options(max_turns=1, whole=False)
        async with asked.place() as place:
            await asked.run(
                {"model": asked.model, "messages": []},
                replace(options, tools=options.tools | {TOOL}),
                id=new_id("eager"),
                upstream=Pushed(self._next, close=self._inbox.close, language=first.language),
                place=place,
                send=self._send,
            )

    async def _open(self) -> PushRequest:
        return validated(PushRequest, await self._next(FIRST_S))

    async def _next(self, within_s: float = SILENCE_S) -> dict[str, Any]:
        """
        Raises:
            RequestError: it is no JSON object.
            UpstreamBroken: none came.
        """
        try:
            async with asyncio.timeout(within_s):
                message = await self._inbox.get()
        except TimeoutError:
            raise UpstreamBroken("no message came") from None
        text = message.get("text")
        try:
            if isinstance(text, str):
                await check_text(text)
            decoded = json.loads(text) if isinstance(text, str) else None
        except TooManyValues as error:
            raise RequestError(f"A message cannot be read: {error}.") from None
        except (ValueError, RecursionError):
            decoded = None
        if not isinstance(decoded, dict):
            raise RequestError("A message is a JSON object.")
        return decoded

    async def _send(self, event: Event) -> None:
        self._latest = event
        if isinstance(event, Done):
            self._services.metrics.observe(event.finish_reason, event.timing)
        with suppress(WebSocketDisconnect):  # the listener hears of it, too
            await self._socket.send_text(_encode(event).decode())


class Inbox:
    """Messages that came and are not read yet. Who listens must not be kept waiting by what nobody will read."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue(READ_AHEAD)
        self._closed = False

    def __repr__(self) -> str:
        return f"<Inbox {self._messages.qsize()}{', closed' if self._closed else ''}>"

    async def put(self, message: Message) -> None:
        """Waits while it is full; once it is closed the message is dropped."""
        if not self._closed:
            await self._messages.put(message)

    async def get(self) -> Message:
        return await self._messages.get()

    def close(self) -> None:
        """Nothing more will be read."""
        self._closed = True
        while not self._messages.empty():
            self._messages.get_nowait()


class Pushed:
    """Stands where ``Upstream`` does: the app's messages as the deltas of one answer. Calls ``close`` when it is over,
    or nobody wants more of it."""

    def __init__(
        self, next_message: Callable[[], Awaitable[dict[str, Any]]], *, close: Callable[[], None], language: str
    ) -> None:
        self._next = next_message
        self._close = close
        self._language = language

    @asynccontextmanager
    async def stream(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[Sequence[str]]]:
        answer = self._read()
        try:
            yield answer
        finally:
            await answer.aclose()
            self._close()

    async def _read(self) -> AsyncGenerator[Sequence[str], None]:
        writing = False
        while True:
            match await self._next():
                case {"code": str(text)}:
                    if not writing:
                        writing = True
                        yield [_open_call(self._language)]
                    yield [_arguments(json.dumps(text)[1:-1])]
                case {"chunk": dict(chunk)}:
                    yield [json.dumps(chunk)]
                case {"end": True}:
                    break
                case _:
                    raise RequestError('A message has "code", "chunk" or "end".')
        self._close()
        if writing:
            yield [_arguments('"}')]


def _require_one_turn(asked: EagerOptions) -> None:
    """The app calls its model itself, and pushes one answer.

    Raises:
        RequestError: something was asked for that takes another one.
    """
    wants_turns = asked.max_turns is not None and asked.max_turns > 1
    if wants_turns or asked.on_error == "repair":
        raise RequestError(
            "One answer is pushed, and the model that wrote it is not called from here: further turns and repairs are "
            "the app's own.",
            param="eager.max_turns" if wants_turns else "eager.on_error",
            code="unsupported_parameter",
        )


def _open_call(language: str) -> str:
    """Code without a call around it, as the beginning of one."""
    function = {"name": TOOL, "arguments": json.dumps({"language": language})[:-1] + ', "code": "'}
    return _delta({"tool_calls": [{"index": 0, "id": CALL_ID, "type": "function", "function": function}]})


def _arguments(text: str) -> str:
    return _delta({"tool_calls": [{"index": 0, "function": {"arguments": text}}]})


def _delta(delta: dict[str, Any]) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta}]})
