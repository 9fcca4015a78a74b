"""Kernels of a Jupyter Server or Enterprise Gateway: started and ended over HTTP, spoken to over a WebSocket.

Source: Jupyter Server's REST API (``/api/kernels``) and its WebSocket protocol in the default form, a JSON text per
message. What a server does on its own is left to it: it drops output above its rate limits
(``iopub_data_rate_limit``), and tells of a kernel that has died only when it next looks, every few seconds. Of a kernel
that somebody else deletes it does not tell: the session finds out when an execution runs into its deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Final
from urllib.parse import quote, urlsplit
from uuid import uuid4

import aiohttp
import msgspec

from app.errors import SandboxStartError
from app.sandbox.jupyter.kernel import Kernel, KernelMessage, KernelRequest, KernelSocket, Listener

#: A result of the largest size our interpreter sends, in JSON.
_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
_HEARTBEAT_S: Final = 20.0
_PARTING_TIME_S: Final = 10.0
_FOR_EVER: Final = aiohttp.ClientTimeout(total=None)
_MESSAGE: Final[msgspec.json.Decoder[KernelMessage]] = msgspec.json.Decoder(KernelMessage)


class ServerKernels:
    """
    Args:
        url: of the server, with its base path.
        token: None if the server wants none.
        name: a kernelspec of the server.
    """

    def __init__(self, url: str, *, token: str | None, name: str, timeout_s: float = 60.0) -> None:
        self._url = url.rstrip("/")
        self._name = name
        self._headers = {"Authorization": f"token {token}"} if token else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)  # of a request; a WebSocket lives on
        self._http: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<ServerKernels {self._name!r} of {self._url}>"

    def describe(self) -> str:
        return f"Jupyter kernels of {urlsplit(self._url).hostname}: what isolates them is up to that server"

    def make_folder(self) -> str | None:
        return None

    async def open(self, listener: Listener) -> Kernel:
        """
        Raises:
            SandboxStartError: the server refuses, or cannot be reached.
        """
        if self._http is None:
            self._http = aiohttp.ClientSession(headers=self._headers, timeout=_FOR_EVER)
        try:
            id = await self._create(self._http)
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as error:
            raise SandboxStartError(f"no kernel {self._name!r} from {self._url}: {error!r}") from error
        return _ServerKernel(self._http, f"{self._url}/api/kernels/{quote(id, safe='')}", listener)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    async def _create(self, http: aiohttp.ClientSession) -> str:
        async with http.post(f"{self._url}/api/kernels", json={"name": self._name}, timeout=self._timeout) as response:
            response.raise_for_status()
            id = json.loads(await response.read())["id"]
        if not isinstance(id, str):
            raise ValueError(f"id {id!r}")
        return id


class _ServerKernel:
    """Implements ``Kernel``. Its task lives as long as the kernel does, and removes it at the end."""

    def __init__(self, http: aiohttp.ClientSession, url: str, listener: Listener) -> None:
        self._http = http
        self._url = url
        self._listener = listener
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()  # bounded by what a worker has in flight
        self._closed = False
        self._life = asyncio.create_task(self._live())

    def send(self, channel: KernelSocket, request: KernelRequest) -> None:
        self._outgoing.put_nowait(json.dumps({**request, "channel": channel}))

    def kill(self) -> None:
        if not self._closed:  # a second cancellation would hit the removal
            self._closed = True
            self._life.cancel()

    async def close(self) -> None:
        self.kill()
        with contextlib.suppress(asyncio.CancelledError):
            await self._life

    async def _live(self) -> None:
        why = "the server closed the connection"
        try:
            url = f"{self._url}/channels?session_id={uuid4().hex}"
            async with (
                self._http.ws_connect(url, max_msg_size=_MAX_MESSAGE_BYTES, heartbeat=_HEARTBEAT_S) as socket,
                asyncio.TaskGroup() as tasks,
            ):
                writer = tasks.create_task(self._write(socket))
                async for frame in socket:
                    if frame.type is aiohttp.WSMsgType.TEXT:
                        self._deliver(frame.data)
                writer.cancel()
        except* (aiohttp.ClientError, TimeoutError, OSError) as errors:
            why = repr(errors.exceptions[0])
        finally:
            await self._remove()
        if not self._closed:
            self._listener.end("signal", f"the kernel is out of reach: {why}")

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await socket.send_str(await self._outgoing.get())

    def _deliver(self, text: str) -> None:
        try:
            message = _MESSAGE.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return
        if not self._closed:
            self._listener.hear(message)

    async def _remove(self) -> None:
        """The server ends the kernel, and with it whatever runs in it."""
        try:
            async with asyncio.timeout(_PARTING_TIME_S), self._http.delete(self._url):
                pass
        except (aiohttp.ClientError, TimeoutError):
            return
