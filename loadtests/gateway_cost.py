"""What the gateway costs: CPU and added latency per token under load, beside other proxies in the same run, and what
its sandboxes cost: check-out, dispatch, memory."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from rich.console import Console

from loadtests.gateway_client import PYTHON_TOOL, GatewayClient
from loadtests.load import Load, LoadFailed, request_body, summarize
from loadtests.load_client import run_streams
from loadtests.load_upstream import PROSE_MARKER, TOKENS_PER_STATEMENT
from loadtests.measurement import RunFailed
from loadtests.processes import Server, ServerFailed, gateway, pool_is_quiet, server, wait_ready
from loadtests.statistics import percentile

#: Where ``--litellm`` is looked for.
LITELLM: Final = Path(".eager/bench/litellm/bin/litellm")
NO_LITELLM: Final = (
    "LiteLLM: not installed (uv venv .eager/bench/litellm && "
    "uv pip install --python .eager/bench/litellm/bin/python 'litellm[proxy]')"
)
_LITELLM_CONFIG: Final = """\
model_list:
  - model_name: "*"
    litellm_params: {{model: "openai/*", api_base: "{url}/v1", api_key: bench}}
"""
_KEY: Final = "sk-bench"
#: Streams that are late by this much are cut.
_GRACE_S: Final = 15.0
_SESSIONS_HELD: Final = 8
_CHECKOUTS: Final = 5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``code_streams``: most streams that have a sandbox each; above it, streams are only passed on."""

    backends: Sequence[str]
    streams: Sequence[int]
    code_streams: int
    tps: float
    seconds: float
    dispatches: int
    litellm: Path

    @property
    def tokens_each(self) -> int:
        """Whole statements, at least two."""
        return max(2, round(self.tps * self.seconds / TOKENS_PER_STATEMENT)) * TOKENS_PER_STATEMENT


class SandboxCost(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds, except where said.

    Attributes:
        dispatch: an execution of ``pass``, beyond its run time.
        http: the same as the client sees it, through ``/v1/sessions/{id}/execute``.
        checkout_warm: largest of several; ``checkout_cold`` once, when the pool is empty.
        session_mb: memory that one more session takes, from what the system has available.
    """

    backend: str
    dispatch_p50: float
    dispatch_p99: float
    http_p50: float
    checkout_warm: float
    checkout_cold: float
    session_mb: float


@dataclass
class GatewayCost:
    loads: list[Load] = field(default_factory=list)
    sandboxes: list[SandboxCost] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Target:
    """A way through a server, and how its answers are read."""

    name: str
    server: Server
    kind: str = "prose"
    path: str = "/v1/chat/completions"
    marker: bytes = PROSE_MARKER
    extra: dict[str, Any] = field(default_factory=dict)
    most: int = 1_000_000


async def measure_gateway(plan: Plan, console: Console) -> GatewayCost:
    found = GatewayCost()
    async with _load_upstream() as upstream:
        for backend in plan.backends:
            console.print(f"sandboxes: {backend}")
            try:
                found.sandboxes.append(await _sandbox_cost(upstream, backend, plan.dispatches))
            except (ServerFailed, RunFailed) as failure:
                found.failures.append(f"{backend}: {failure}")
        async with AsyncExitStack() as stack:
            targets = await _targets(plan, upstream, stack, found.failures)
            targets = [target for target in targets if await _answers(plan, upstream, target, found.failures)]
            for count, target in itertools.product(plan.streams, targets):
                if count <= target.most:
                    console.print(f"{count} streams: {target.name}")
                    try:
                        found.loads.append(await _load(plan, upstream, target, count))
                    except LoadFailed as failure:
                        found.failures.append(f"{target.name}, {count} streams: {failure}")
    return found


async def _targets(plan: Plan, upstream: Server, stack: AsyncExitStack, failures: list[str]) -> list[_Target]:
    targets = [_Target(name="no proxy", server=upstream)]
    command = [sys.executable, "-m", "loadtests.pass_through"]
    bare = server(lambda port: [*command, str(port), upstream.url], {}, ready_path="/healthz")
    targets.append(_Target(name="aiohttp pass-through", server=await stack.enter_async_context(bare)))
    try:
        targets += await _gateway_targets(plan, upstream, stack)
    except ServerFailed as failure:
        failures.append(f"gateway under load: {failure}")
    if not plan.litellm.exists():
        failures.append(NO_LITELLM)
        return targets
    try:
        litellm = await stack.enter_async_context(_litellm(plan.litellm, upstream))
        targets.append(_Target(name=f"LiteLLM {await _version(plan.litellm)}", server=litellm))
    except ServerFailed as failure:
        failures.append(f"LiteLLM: {failure}")
    return targets


async def _gateway_targets(plan: Plan, upstream: Server, stack: AsyncExitStack) -> list[_Target]:
    """One gateway with as many sandboxes as are used at once, and no room for more: none is started under load."""
    most = max((count for count in plan.streams if count <= plan.code_streams), default=1)
    settings = {
        "EAGER_POOL_SIZE": str(most),
        "EAGER_SANDBOX_LIMIT": str(most),
        "EAGER_PRELOAD": "",
        "EAGER_REQUEST_LIMIT": "2048",
        "EAGER_MEMORY_MB": "256",
    }
    ours = await stack.enter_async_context(gateway(upstream, plan.backends[0], **settings))
    searched = _Target(name="Eager, searched for code", server=ours, path="/v1/eager/completions", most=most)
    run = replace(
        searched, name="Eager, code run", kind="code", marker=b'"channel":"code"', extra={"tools": [PYTHON_TOOL]}
    )
    return [_Target(name="Eager, passed on", server=ours), searched, run]


async def _answers(plan: Plan, upstream: Server, target: _Target, failures: list[str]) -> bool:
    """A first stream, unmeasured: what a server does once is not what a token costs."""
    try:
        await _load(replace(plan, seconds=1), upstream, target, 1)
    except LoadFailed as failure:
        failures.append(f"{target.name}: {failure}")
        return False
    return True


async def _load(plan: Plan, upstream: Server, target: _Target, count: int) -> Load:
    if target.name.startswith("Eager"):
        await wait_ready(f"{target.server.url}/readyz", pool_is_quiet)
    ids = [str(number) for number in range(count)]
    bodies = {
        id: request_body(id, target.kind, tps=plan.tps, tokens=plan.tokens_each, extra=target.extra) for id in ids
    }
    before = target.server.cpu_s()
    streams = await run_streams(
        target.server.url + target.path,
        bodies,
        marker=target.marker,
        last=b"DONE]",
        spread_s=min(1.0, count / 64),
        limit_s=plan.seconds + _GRACE_S,
        key=_KEY,
    )
    cpu_s = target.server.cpu_s() - before
    async with aiohttp.ClientSession() as http, http.get(f"{upstream.url}/__sent") as answer:
        sent_s = await answer.json()
    return summarize(target.name, streams, sent_s, cpu_s=cpu_s, tps=plan.tps, tokens_each=plan.tokens_each)


async def _sandbox_cost(upstream: Server, backend: str, dispatches: int) -> SandboxCost:
    settings = {"EAGER_POOL_SIZE": "1", "EAGER_SANDBOX_LIMIT": "12", "EAGER_SESSION_LIMIT": "10"}
    async with gateway(upstream, backend, **settings) as running, aiohttp.ClientSession() as http:
        client = GatewayClient(http, running.url)
        warm_ms = [await _checkout_ms(client) for _ in range(_CHECKOUTS)]
        async with client.session() as session:
            cold_ms = await _checkout_ms(client, wait=False)
            await wait_ready(f"{client.url}/readyz", pool_is_quiet)
            inside, outside = [], []
            for _ in range(dispatches):
                began = time.perf_counter()
                done = await client.execute(session, "pass\n")
                outside.append((time.perf_counter() - began) * 1e3)
                inside.append(done["duration_ms"] - done["timing"]["exec_ms"])
        return SandboxCost(
            backend=backend,
            dispatch_p50=percentile(inside, 50),
            dispatch_p99=percentile(inside, 99),
            http_p50=percentile(outside, 50),
            checkout_warm=max(warm_ms),
            checkout_cold=cold_ms,
            session_mb=await _session_mb(client),
        )


async def _checkout_ms(client: GatewayClient, *, wait: bool = True) -> float:
    """What the pool says one check-out took; without ``wait`` it may have to start the sandbox."""
    if wait:
        await wait_ready(f"{client.url}/readyz", pool_is_quiet)
    before = (await client.readiness())["pool"]["checkout_s"]
    async with client.session():
        return float((await client.readiness())["pool"]["checkout_s"] - before) * 1e3


async def _session_mb(client: GatewayClient) -> float:
    await wait_ready(f"{client.url}/readyz", pool_is_quiet)
    before = _available_mb()
    async with AsyncExitStack() as stack:
        for _ in range(_SESSIONS_HELD):
            await stack.enter_async_context(client.session())
        await wait_ready(f"{client.url}/readyz", pool_is_quiet)
        return (before - _available_mb()) / _SESSIONS_HELD


def _available_mb() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1000
    raise OSError("/proc/meminfo has no MemAvailable")


def _load_upstream() -> Any:
    command = [sys.executable, "-m", "loadtests.load_upstream"]
    return server(lambda port: [*command, str(port)], {}, ready_path="/")


@asynccontextmanager
async def _litellm(program: Path, upstream: Server) -> AsyncIterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="eager-bench-litellm-"))
    try:
        config = folder / "config.yaml"
        config.write_text(_LITELLM_CONFIG.format(url=upstream.url))
        command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port"]
        environment = {"LITELLM_MASTER_KEY": _KEY, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        async with server(lambda port: [*command, str(port)], environment, ready_path="/health/liveliness") as running:
            yield running
    finally:
        shutil.rmtree(folder)


async def _version(program: Path) -> str:
    code = "import importlib.metadata as m; print(m.version('litellm'))"
    process = await asyncio.create_subprocess_exec(
        program.parent / "python", "-c", code, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    return told.decode().strip()
