"""A replay upstream and a gateway, each a process of its own on a free port of the loopback interface."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from app.demo.processes import ServerProcess, server_process, wait_ready

_READY_TIMEOUT_S: Final = 90.0


@asynccontextmanager
async def demo_servers(*, tps: float, ttft_ms: float, requests: int) -> AsyncIterator[str]:
    """Base URL of a gateway that is ready for so many requests, with a replay upstream behind it. Both end with the
    block.

    Raises:
        ServerFailed: one of them could not be started.
    """
    async with (
        _server(["upstream", "--tps", str(tps), "--ttft-ms", str(ttft_ms)], os.environ) as (upstream, _),
        _server(["serve"], _gateway_environment(upstream, requests)) as (gateway, process),
    ):
        await wait_ready(
            f"{gateway}/readyz",
            is_ready=lambda readiness: bool(readiness["pool"]["starting"] == 0),
            server=process,
            limit_s=_READY_TIMEOUT_S,
        )
        yield gateway


def _gateway_environment(upstream: str, requests: int) -> Mapping[str, str]:
    """The user's settings, save what makes it the demo's gateway: a warm sandbox for each request, and no more, so that
    none is being started beside the code that is timed."""
    ours = {
        "EAGER_UPSTREAM_BASE_URL": f"{upstream}/v1",
        "EAGER_UPSTREAM_API_KEY": "replay",
        "EAGER_API_KEYS": "",
        "EAGER_API_KEYS_FILE": "",
        "EAGER_AUDIT_DAYS": "0",
        "EAGER_POOL_SIZE": str(requests),
        "EAGER_SANDBOX_LIMIT": str(requests),
        # Nothing is kept; a gateway that serves beside it is not taken for one that was there before.
        "EAGER_DATABASE_URL": "sqlite+aiosqlite://",
        "EAGER_FILES_URL": "memory://demo",
        "EAGER_SECRET_KEY": secrets.token_hex(32),
    }
    return {"EAGER_SANDBOX": "local"} | os.environ | ours


@asynccontextmanager
async def _server(arguments: Sequence[str], environment: Mapping[str, str]) -> AsyncIterator[tuple[str, ServerProcess]]:
    """Runs ``eager ARGUMENTS`` on a socket that listens already: nobody else can take the port, and a client that comes
    too early waits instead of failing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        command = [sys.executable, "-m", "app.cli", *arguments, "--fd", str(fd)]
        async with server_process(f"eager {arguments[0]}", command, environment, pass_fds=[fd]) as process:
            yield "http://{}:{}".format(*listener.getsockname()), process
