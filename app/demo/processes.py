"""A server as a child process: ready when it says so, told with its last words if it fails, ended with its block."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, Final

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

    def check(self) -> None:
        """
        Raises:
            ServerFailed: it has ended.
        """
        if self._process.returncode is not None:
            raise ServerFailed(f"{self._name} ended with status {self._process.returncode}:\n{self.last_words()}")

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
    reason = "it does not answer"
    try:
        async with asyncio.timeout(limit_s), httpx.AsyncClient(timeout=_PROBE_TIMEOUT_S, trust_env=False) as client:
            while True:
                if server is not None:
                    server.check()
                try:
                    answer = await client.get(url)
                except httpx.TransportError:
                    pass
                else:
                    if answer.status_code == 200 and is_ready(answer.json()):
                        return
                    reason = answer.text[:1000]
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        words = f"\n{server.last_words()}" if server is not None else ""
        raise ServerFailed(f"{url} is not ready after {limit_s:.0f} s: {reason}{words}") from None


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
