"""``x-request-id`` on every answer, and in every log line that the request causes; the last one tells how it ended."""

from __future__ import annotations

import asyncio
import logging
import re
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.redaction import on_one_line

log = logging.getLogger(__name__)

#: What machines ask for, some of it all the time.
PROBES = {"/healthz", "/readyz", "/metrics", "/warm-up"}
#: Of a path, in the log.
MAX_PATH_CHARS = 200

#: Id of the request being served, followed by the client's own if it sent one; ``-`` outside of requests.
current_request: ContextVar[str] = ContextVar("current_request", default="-")

#: Clients send ids of their tracing. One that could forge log lines, or flood them, is not taken.
CLIENT_HEADERS = ("x-request-id", "x-client-request-id")
CLIENT_ID = re.compile(r"[!-~]{1,128}")

#: The messages whose headers become those of the answer.
ANSWERS = {"http.response.start", "websocket.accept", "websocket.http.response.start"}


class RequestIdMiddleware:
    """Gives each request an id (``request.state.request_id``). Pure ASGI: a stream's message costs one comparison."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = f"req_{uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = request_id
        header = (b"x-request-id", request_id.encode())
        begun = asyncio.get_running_loop().time()
        status = "-"  # nobody was answered

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in ANSWERS:
                status = message.get("status", "accepted")
                if all(name != header[0] for name, _ in message.get("headers", ())):
                    message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        client_id = client_request_id(Headers(scope=scope))
        token = current_request.set(f"{request_id} {client_id}" if client_id else request_id)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            level = logging.DEBUG if scope["path"] in PROBES else logging.INFO
            what = scope.get("method", "WEBSOCKET")
            path = quote(scope["path"], errors="replace")[:MAX_PATH_CHARS]
            log.log(level, "%s %s: %s, %.3f s", what, path, status, asyncio.get_running_loop().time() - begun)
            current_request.reset(token)


def client_request_id(headers: Headers) -> str | None:
    """The id that the client gave the request, if it sent a decent one."""
    for name in CLIENT_HEADERS:
        value = headers.get(name)
        if value is not None and CLIENT_ID.fullmatch(value):
            return value
    return None


class RequestIdFilter(logging.Filter):
    """Adds ``request`` to log records, for format strings."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request = current_request.get()
        return True


class OneLineFormatter(logging.Formatter):
    """Control characters are spelled out, so that nothing that was quoted forges a line or moves a terminal's cursor.
    Lines of a traceback are indented: none of them looks like a line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return on_one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "\n".join(f"  {on_one_line(line)}" for line in super().formatException(ei).split("\n"))
