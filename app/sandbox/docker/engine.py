"""A Docker Engine as the gateway uses it: calls of the Docker SDK in threads, each bounded in time, and attach streams,
which are spoken here, over asyncio, with no thread in between.

The SDK has an attach of its own, but leaves bytes behind in its response object, and its TLS sockets cannot be handed
to asyncio. The exchange is small: one HTTP request, one response head, then the stream (attach.py decodes it).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar
from urllib.parse import urlsplit

import docker
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.errors import APIError, DockerException
from docker.tls import TLSConfig
from docker.utils import kwargs_from_env
from requests.exceptions import RequestException

from app.errors import SandboxStartError
from app.sandbox.docker.attach import AttachedChannel

T = TypeVar("T")

_DEFAULT_ADDRESS: Final = "unix:///var/run/docker.sock"
#: The engine serializes most of what we ask of it; more threads would only queue there.
_THREADS: Final = 4


class EngineError(SandboxStartError):
    """The engine refused, failed, or did not answer in time. ``http_status`` is None if it did not answer."""

    def __init__(self, message: str, http_status: int | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status


def engine_address(address: str | None) -> str:
    """As given; None means what the Docker client would use: DOCKER_HOST, else the local socket."""
    return address or kwargs_from_env().get("base_url") or _DEFAULT_ADDRESS


def open_client(address: str, *, timeout_s: float) -> docker.APIClient:
    """A client of the engine's own API version, with ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH`` as for the Docker
    client.

    Raises:
        DockerException, RequestException: it does not answer.
    """

    def connect(version: str) -> docker.APIClient:
        client = docker.APIClient(
            address, version=version, timeout=int(timeout_s), tls=kwargs_from_env().get("tls") or False
        )
        client.trust_env = False  # or REQUESTS_CA_BUNDLE takes the place of the engine's own authority
        return client

    asking = connect(DEFAULT_DOCKER_API_VERSION)
    try:
        return connect(asking.version(api_version=False)["ApiVersion"])
    finally:
        asking.close()


class Engine:
    """One engine; see ``engine_address`` and ``open_client``."""

    def __init__(self, address: str | None, *, timeout_s: float) -> None:
        self.address = engine_address(address)
        self._tls: TLSConfig | None = kwargs_from_env().get("tls") or None
        self._timeout_s = timeout_s
        self._client: docker.APIClient | None = None
        self._client_lock = threading.Lock()  # held while the first thread asks the engine for its API version
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="docker")

    def __repr__(self) -> str:
        return f"<Engine {self.address}>"

    @property
    def is_local(self) -> bool:
        """Reached through a Unix socket. Whether it sees our file system is another question."""
        return self.address.startswith(("unix://", "http+unix://"))

    async def call(self, function: Callable[[docker.APIClient], T]) -> T:
        """``function`` in a thread. Cancelled, it is waited for all the same (its time is bounded): what it makes must
        exist before it can be removed.

        Raises:
            EngineError
        """
        call = asyncio.get_running_loop().run_in_executor(self._threads, self._call, function)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait([call])
            call.cancelled() or call.exception()  # retrieved: nobody else will look
            raise

    async def attach(self, container: str, channel: AttachedChannel, *streams: str) -> None:
        """Connect a channel to these streams of a container (``"stdin"``, ...).

        Raises:
            EngineError
        """
        version = await self.call(lambda client: client.api_version)
        query = "&".join(f"{name}=1" for name in ("stream", *streams))
        request = (
            f"POST /v{version}/containers/{container}/attach?{query} HTTP/1.1\r\nHost: docker\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._connect(channel)
                channel.send(request.encode())
                await channel.wait_attached()
        except (OSError, TimeoutError) as error:
            raise EngineError(f"Docker Engine at {self.address}: {error or 'no answer in time'}") from error

    async def close(self) -> None:
        """After the last call."""
        self._threads.shutdown(wait=False)
        if self._client is not None:
            self._client.close()

    def _call(self, function: Callable[[docker.APIClient], T]) -> T:
        try:
            self._knock()
            with self._client_lock:
                if self._client is None:
                    self._client = open_client(self.address, timeout_s=self._timeout_s)
            return function(self._client)
        except APIError as error:
            raise EngineError(f"Docker Engine: {error.explanation or error}", error.status_code) from error
        except (DockerException, RequestException, OSError) as error:
            raise EngineError(f"Docker Engine at {self.address} does not answer: {error}") from error

    def _knock(self) -> None:
        """Fail early if nobody is there. The SDK would, too, but leaves the socket behind when it cannot connect."""
        if self.is_local:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(self._timeout_s)
                probe.connect(urlsplit(self.address).path)

    async def _connect(self, channel: AttachedChannel) -> None:
        loop = asyncio.get_running_loop()
        url = urlsplit(self.address)
        if self.is_local:
            await loop.create_unix_connection(lambda: channel, url.path)
            return
        if url.scheme not in ("tcp", "http", "https") or url.hostname is None:
            raise EngineError(f"{self.address}: only unix:// and tcp:// engines can be attached to")
        tls = self._tls_context()
        port = url.port or (2376 if tls else 2375)
        await loop.create_connection(lambda: channel, url.hostname, port, ssl=tls)

    def _tls_context(self) -> ssl.SSLContext | None:
        if self._tls is None:
            return None
        context = ssl.create_default_context(cafile=self._tls.ca_cert or None)
        if not self._tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._tls.cert:
            context.load_cert_chain(*self._tls.cert)
        return context
