"""What sessions cost, as a client of ``/v1/sessions`` and the pool's counters see it: check-out, dispatch, memory."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from loadtests.gateway_client import GatewayClient
from loadtests.processes import Server, gateway, pool_is_quiet, wait_ready
from loadtests.statistics import median, percentile

_SESSIONS_HELD: Final = 8
_CHECKOUTS: Final = 5


class SessionCost(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds, except where said.

    Attributes:
        dispatch: an execution of ``pass``, beyond its run time.
        http: the same as the client sees it, through ``/v1/sessions/{id}/execute``.
        checkout_warm: largest of several, ``checkout_warm_p50`` their median; ``checkout_cold`` once, when the pool
            is empty.
        session_mb: memory that one more session takes, from what the system has available.
    """

    backend: str
    dispatch_p50: float
    dispatch_p99: float
    http_p50: float
    checkout_warm_p50: float
    checkout_warm: float
    checkout_cold: float
    session_mb: float


async def session_cost(upstream: Server, backend: str, dispatches: int) -> SessionCost:
    settings = {"EAGER_POOL_SIZE": "1", "EAGER_SANDBOX_LIMIT": "12", "EAGER_SESSION_LIMIT": "10"}
    async with gateway(upstream, backend, **settings) as running, aiohttp.ClientSession() as http:
        client = GatewayClient(http, running.url)
        warm_ms = [await _checkout_ms(client) for _ in range(_CHECKOUTS)]
        async with client.session() as session:
            cold_ms = await _checkout_ms(client, wait=False)
            await wait_ready(f"{client.url}/readyz", is_ready=pool_is_quiet)
            inside, outside = [], []
            for _ in range(dispatches):
                began = time.perf_counter()
                done = await client.execute(session, "pass\n")
                outside.append((time.perf_counter() - began) * 1e3)
                inside.append(done["duration_ms"] - done["timing"]["exec_ms"])
        return SessionCost(
            backend=backend,
            dispatch_p50=percentile(inside, 50),
            dispatch_p99=percentile(inside, 99),
            http_p50=percentile(outside, 50),
            checkout_warm_p50=median(warm_ms),
            checkout_warm=max(warm_ms),
            checkout_cold=cold_ms,
            session_mb=await _session_mb(client),
        )


async def _checkout_ms(client: GatewayClient, *, wait: bool = True) -> float:
    """What the pool says one check-out took; without ``wait`` it may have to start the sandbox."""
    if wait:
        await wait_ready(f"{client.url}/readyz", is_ready=pool_is_quiet)
    before = (await client.readiness())["pool"]["checkout_s"]
    async with client.session():
        return float((await client.readiness())["pool"]["checkout_s"] - before) * 1e3


async def _session_mb(client: GatewayClient) -> float:
    await wait_ready(f"{client.url}/readyz", is_ready=pool_is_quiet)
    before = _available_mb()
    async with AsyncExitStack() as stack:
        for _ in range(_SESSIONS_HELD):
            await stack.enter_async_context(client.session())
        await wait_ready(f"{client.url}/readyz", is_ready=pool_is_quiet)
        return (before - _available_mb()) / _SESSIONS_HELD


def _available_mb() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1000
    raise OSError("/proc/meminfo has no MemAvailable")
