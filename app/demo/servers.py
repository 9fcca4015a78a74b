"""A replay upstream and a gateway, each a process of its own on a free port of the loopback interface."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import BinaryIO, Final

import httpx

_READY_TIMEOUT_S: Final = 90.0
_POLL_S: Final = 0.1
_STOP_TIMEOUT_S: Final = 15.0
_LOG_LINES_TOLD: Final = 15


class ServerFailed(Exception):
    """A server of the demo ended or did not get ready; the message says why. Both servers are stopped."""


@asynccontextmanager
async def demo_servers(*, tps: float, ttft_ms: float, requests: int) -> AsyncIterator[str]:
    """Base URL of a gateway that is ready for so many requests, with a replay upstream behind it. Both end with the
    block.

    Raises:
        ServerFailed: one of them could not be started.
    """
    async with (
        _server(["upstream", "--tps", str(tps), "--ttft-ms", str(ttft_ms)], os.environ) as (upstream, _),
        _server(["serve"], _gateway_environment(upstream, requests)) as (gateway, exited),
    ):
        await _wait_ready(f"{gateway}/readyz", exited)
        yield gateway


def _gateway_environment(upstream: str, requests: int) -> Mapping[str, str]:
    """The user's settings, save what makes it the demo's gateway: a warm sandbox for each request, and no more, so that
    none is being started beside the code that is timed."""
    ours = {
        "EAGER_UPSTREAM_BASE_URL": f"{upstream}/v1",
        "EAGER_UPSTREAM_API_KEY": "replay",
        "EAGER_API_KEYS": "",
        "EAGER_POOL_SIZE": str(requests),
        "EAGER_SANDBOX_LIMIT": str(requests),
    }
    return {"EAGER_SANDBOX": "local"} | os.environ | ours


class _Exited:
    """Whether a server process has ended, and what it said last."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: BinaryIO) -> None:
        self._name, self._process, self._log = name, process, log

    def check(self) -> None:
        """
        Raises:
            ServerFailed: it has.
        """
        if self._process.returncode is not None:
            raise ServerFailed(f"eager {self._name} ended with status {self._process.returncode}:\n{self.last_words()}")

    def last_words(self) -> str:
        self._log.seek(0)
        return "\n".join(self._log.read().decode(errors="replace").splitlines()[-_LOG_LINES_TOLD:])


@asynccontextmanager
async def _server(arguments: Sequence[str], environment: Mapping[str, str]) -> AsyncIterator[tuple[str, _Exited]]:
    """Runs ``eager ARGUMENTS`` on a socket that listens already: nobody else can take the port, and a client that comes
    too early waits instead of failing."""
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.cli", *arguments, "--fd", str(listener.fileno())),
            env=environment,
            pass_fds=(listener.fileno(),),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield "http://{}:{}".format(*listener.getsockname()), _Exited(arguments[0], process, log)
        finally:
            await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, a bounded wait, SIGKILL."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _wait_ready(url: str, exited: _Exited) -> None:
    reason = "it does not answer"
    try:
        async with asyncio.timeout(_READY_TIMEOUT_S), httpx.AsyncClient(timeout=_POLL_S * 10) as client:
            while True:
                exited.check()
                try:
                    answer = await client.get(url)
                except httpx.TransportError:
                    continue
                if answer.status_code == 200 and answer.json()["pool"]["starting"] == 0:
                    return
                reason = answer.text[:1000]
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise ServerFailed(
            f"the gateway is not ready after {_READY_TIMEOUT_S:.0f} s: {reason}\n{exited.last_words()}"
        ) from None
