"""Server processes on loopback, and what they cost."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.demo.processes import ServerFailed, server_process, wait_ready

__all__ = ["Server", "ServerFailed", "eager", "gateway", "pool_is_quiet", "server", "wait_ready"]


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    pid: int

    def cpu_s(self) -> float:
        """CPU time of all threads of the process, without its children, to the nanosecond."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


@asynccontextmanager
async def server(
    command: Callable[[int], Sequence[str]],
    environment: Mapping[str, str],
    *,
    ready_path: str,
    is_ready: Callable[[Any], bool] = lambda document: True,
) -> AsyncIterator[Server]:
    """Run ``command(port)`` until the block ends; yields when its ``ready_path`` answers 200 and ``is_ready``.

    Raises:
        ServerFailed: it did not get that far.
    """
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    async with server_process("the server", command(port), {**os.environ, **environment}) as process:
        await wait_ready(url + ready_path, is_ready=is_ready, server=process)
        yield Server(url, process.pid)


def eager(*arguments: str) -> Callable[[int], list[str]]:
    """The command line of one of our own servers."""
    return lambda port: [sys.executable, "-m", "app.cli", *arguments, "--host", "127.0.0.1", "--port", str(port)]


@asynccontextmanager
async def gateway(upstream: Server, backend: str, **settings: str) -> AsyncIterator[Server]:
    """``eager serve`` with its sandboxes warm. The user's other settings (``EAGER_...``) hold.

    Raises:
        ServerFailed: it could not be started.
    """
    with tempfile.TemporaryDirectory(prefix="eager-bench-") as data:
        environment = {
            "EAGER_UPSTREAM_BASE_URL": f"{upstream.url}/v1",
            "EAGER_UPSTREAM_API_KEY": "bench",
            "EAGER_API_KEYS": "",
            "EAGER_API_KEYS_FILE": "",
            "EAGER_SANDBOX": backend,
            "EAGER_DATA_DIR": data,
            "EAGER_CHECKOUT_TIMEOUT_S": "60",
            "EAGER_LOG_LEVEL": "warning",
            **settings,
        }
        async with server(eager("serve"), environment, ready_path="/readyz", is_ready=pool_is_quiet) as running:
            yield running


def pool_is_quiet(readiness: Any) -> bool:
    """No sandbox is being started or closed: it would take time from the code that is measured."""
    pool = readiness["pool"]
    return bool(readiness["ready"] and pool["warm"] and not pool["starting"] and not pool["closing"])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
