"""A server as a child process: ready when it says so, told with its last words if it fails, ended with its block."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, Final, NoReturn

import httpx

_POLL_S: Final = 0.05
_PROBE_TIMEOUT_S: Final = 10.0
_STOP_TIMEOUT_S: Final = 30.0
_LOG_LINES_TOLD: Final = 15


class ServerFailed(Exception):
    """A server ended or did not get ready; the message says why."""


class ServerProcess:
    """``name`` is what it is called in messages."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: BinaryIO) -> None:
        self.pid = process.pid
        self._name, self._process, self._log = name, process, log

    async def ended(self) -> NoReturn:
        """Waits for the end of the process.

        Raises:
            ServerFailed: it has ended.
        """
        status = await self._process.wait()
        raise ServerFailed(f"{self._name} ended with status {status}:\n{self.last_words()}")

    def last_words(self) -> str:
        self._log.seek(0)
        return "\n".join(self._log.read().decode(errors="replace").splitlines()[-_LOG_LINES_TOLD:])


@asynccontextmanager
async def server_process(
    name: str, command: Sequence[str], environment: Mapping[str, str], *, pass_fds: Sequence[int] = ()
) -> AsyncIterator[ServerProcess]:
    """Runs until the block ends: SIGTERM then, a bounded wait, SIGKILL."""
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=dict(environment),
            pass_fds=pass_fds,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield ServerProcess(name, process, log)
        finally:
            await _stop(process)


async def wait_ready(
    url: str,
    *,
    is_ready: Callable[[Any], bool] = lambda document: True,
    server: ServerProcess | None = None,
    limit_s: float = 120.0,
) -> None:
    """Until ``url`` answers 200 with a document that ``is_ready``.

    Raises:
        ServerFailed: not in time, or the server has ended.
    """
    probe = _Probe(url, is_ready)
    awaited = [asyncio.create_task(probe.succeeds())]
    if server is not None:
        awaited.append(asyncio.create_task(server.ended()))
    try:
        done, _ = await asyncio.wait(awaited, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in awaited:
            task.cancel()
        await asyncio.wait(awaited)
    if not done:
        words = f"\n{server.last_words()}" if server is not None else ""
        raise ServerFailed(f"{url} is not ready after {limit_s:.0f} s: {probe.reason}{words}")


class _Probe:
    """Asks ``url`` again and again; ``reason`` is why it has not succeeded yet."""

    def __init__(self, url: str, is_ready: Callable[[Any], bool]) -> None:
        self.reason = "it does not answer"
        self._url, self._is_ready = url, is_ready

    async def succeeds(self) -> None:
        async with httpx.AsyncClient(timeout=_PROBE_TIMEOUT_S, trust_env=False) as client:
            while True:
                if await self._ask(client):
                    return
                await asyncio.sleep(_POLL_S)

    async def _ask(self, client: httpx.AsyncClient) -> bool:
        try:
            answer = await client.get(self._url)
        except httpx.TransportError:
            return False
        if answer.status_code == 200 and self._is_ready(answer.json()):
            return True
        self.reason = answer.text[:1000]
        return False


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
