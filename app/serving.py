"""Runs an application in uvicorn, and has it ready before the first request comes."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable
from typing import Any

import anyio
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from app.api.edge.request_head import RequestHeadProtocol
from app.api.services import end_requests
from app.errors import EagerError

log = logging.getLogger(__name__)

#: After a signal, requests may go on for so long; then they end with an error. That takes a moment: code is interrupted
#: and, where it does not heed that, killed. Together less than the 10 s after which ``docker stop`` kills us.
GRACE_S = 6
END_S = 3
#: Proxies keep idle connections to us for a minute (nginx) or two (Caddy). If we end them first, as with uvicorn's 5 s,
#: a request may be sent on one that is closing: a 502 now and then.
KEEP_ALIVE_S = 150
#: Allocations between two looks at the youngest objects; the default of 700 looks several times in one request.
GC_THRESHOLD = 10_000


def run_server(app: FastAPI, host: str, port: int, fd: int | None) -> bool:
    """Serve until a signal comes. False if it could not start, which has been logged then.

    ``fd`` is a listening socket to use instead of host and port.
    """
    config = uvicorn.Config(
        with_start_up(app),
        host=host,
        port=port,
        http=RequestHeadProtocol,
        ws=WebSocketProtocol,
        ws_max_size=1024 * 1024,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S + END_S,
    )
    server = Server(config, lambda: end_requests(app))
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # a terminal that is closed; ``nohup`` ignores it
        signal.signal(signal.SIGHUP, server.handle_exit)
    server.run(sockets=None if fd is None else [socket.socket(fileno=fd)])
    return server.started


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, which closes connections at once when the server stops. Ours go on as other requests do, and are ended
    by the application."""

    async def send(self, message: Any) -> None:
        """A refusal is a handshake that is over; uvicorn logs it as an error of the application's."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    def shutdown(self) -> None:
        if not self.handshake_complete or self.close_sent:
            super().shutdown()


class Server(uvicorn.Server):
    """Takes its address before the application starts, and ends requests by an error of ours before uvicorn cancels
    them."""

    def __init__(self, config: uvicorn.Config, end_requests: Callable[[], None], *, grace_s: float = GRACE_S) -> None:
        super().__init__(config)
        self._end_requests = end_requests
        self._grace_s = grace_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """A gateway that is started by mistake, beside one that runs, must not touch what they share."""
        if sockets is not None:
            await super().startup(sockets)
            return
        bound = await self._bind()
        await super().startup(bound)
        self._log_started_message(bound)

    async def _bind(self) -> list[socket.socket]:
        """As uvicorn would have done behind the start of the application. Nothing listens yet."""
        loop = asyncio.get_running_loop()
        host, port = self.config.host, self.config.port
        try:
            server = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
        except OSError as error:
            log.error("cannot listen: %s", error)
            raise SystemExit(STARTUP_FAILURE) from None
        bound = [sock.dup() for sock in server.sockets]
        server.close()
        return bound

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        timer = asyncio.get_running_loop().call_later(self._grace_s, self._end_requests)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()


def with_start_up(app: ASGIApp) -> ASGIApp:
    """``app``, warmed up before it says that it has started.

    A start-up that fails by an error of ours is told in a sentence; any other with its traceback, as Starlette does.
    Starlette reports the failure, then raises it: the report is held until the error is known.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        report: Message | None = None

        async def hold_failure(message: Message) -> None:
            nonlocal report
            if message["type"] == "lifespan.startup.failed":
                report = message
                return
            if message["type"] == "lifespan.startup.complete":
                await warm_up(app)
                spare_collector()
            await send(message)

        try:
            await app(scope, receive, hold_failure)
        except EagerError as error:
            await send({"type": "lifespan.startup.failed", "message": error.message})
        except BaseException:
            if report is not None:
                await send(report)
            raise

    return wrapped


async def warm_up(app: ASGIApp) -> None:
    """What frameworks put off until the first request, some 40 ms of it: imports, and the tables of routes, which a
    request that no route matches has built."""
    anyio.CancelScope()  # FastAPI makes one for each request; the first one imports half of anyio

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        """Nobody listens."""

    path = "/warm-up"
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http"}
    place = {"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": []}
    await app({**scope, **place, "client": None, "server": None}, receive, send)


def spare_collector() -> None:
    """Modules and routes live as long as the process: looking for garbage among them held the loop for 100 ms and
    more, a while after each start and then again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])
