"""What the gateway costs: CPU and added latency per token under load, beside other proxies in the same run."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console

from app.backends import create_backend
from app.config import Settings
from app.errors import EagerError
from loadtests.demo_cost import demo_costs
from loadtests.fork_cost import ForkPlan, fork_costs
from loadtests.gateway_client import PYTHON_TOOL
from loadtests.installs import LITELLM
from loadtests.length_cost import LengthCost, length_costs
from loadtests.load import Load, LoadFailed, middle, request_body, summarize
from loadtests.load_client import run_streams
from loadtests.load_upstream import PROSE_MARKER, TOKENS_PER_STATEMENT
from loadtests.measurement import RunFailed
from loadtests.processes import Server, ServerFailed, gateway, pool_is_quiet, server, wait_ready
from loadtests.render_cost import RenderCost, render_costs
from loadtests.sandbox_cost import OUTPUT_LIMIT_BYTES, SandboxCost, measure_sandbox
from loadtests.session_cost import SessionCost, session_cost
from loadtests.start_cost import StartPlan, start_costs, start_costs_as_user
from loadtests.start_report import Starts

_LITELLM_CONFIG: Final = """\
model_list:
  - model_name: "*"
    litellm_params: {{model: "openai/*", api_base: "{url}/v1", api_key: bench}}
"""
_KEY: Final = "sk-bench"
#: Streams that are late by this much are cut.
_GRACE_S: Final = 15.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``code_streams``: most streams that have a sandbox each; above it, streams are only passed on. ``flood_tps``: a
    rate at which the most streams are sent once more, to find what a proxy passes on when that is less than it gets.
    ``repeats``: each target is loaded so many times, in turns with the others; the medians count. ``starts``,
    ``forks``: of local sandboxes."""

    backends: Sequence[str]
    streams: Sequence[int]
    code_streams: int
    tps: float
    flood_tps: float | None
    seconds: float
    dispatches: int
    repeats: int = 1
    starts: StartPlan = field(default_factory=StartPlan)
    forks: ForkPlan = field(default_factory=ForkPlan)

    @property
    def tokens_each(self) -> int:
        """Whole statements, at least two."""
        return max(2, round(self.tps * self.seconds / TOKENS_PER_STATEMENT)) * TOKENS_PER_STATEMENT

    def cells(self) -> list[tuple[int, Plan]]:
        """Streams at once, and the plan at their rate."""
        cells = [(count, self) for count in self.streams]
        if self.flood_tps is not None:
            cells.append((max(self.streams), replace(self, tps=self.flood_tps)))
        return cells


@dataclass
class GatewayCost:
    loads: list[Load] = field(default_factory=list)
    starts: Starts = field(default_factory=Starts)
    sessions: list[SessionCost] = field(default_factory=list)
    sandboxes: list[SandboxCost] = field(default_factory=list)
    lengths: list[LengthCost] = field(default_factory=list)
    rendering: list[RenderCost] = field(default_factory=list)
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
    found = GatewayCost(lengths=length_costs(console.print), rendering=render_costs())
    if "local" in plan.backends:
        await _measure_starts(plan, found, console)
    async with _load_upstream() as upstream:
        for backend in plan.backends:
            console.print(f"sandboxes: {backend}")
            try:
                found.sessions.append(await session_cost(upstream, backend, plan.dispatches))
                found.sandboxes.append(await _sandbox_cost(backend))
            except (ServerFailed, RunFailed, EagerError) as failure:
                found.failures.append(f"{backend}: {failure}")
        async with AsyncExitStack() as stack:
            targets = await _targets(plan, upstream, stack, found.failures)
            targets = [target for target in targets if await _answers(plan, upstream, target, found.failures)]
            for count, cell in plan.cells():
                loads: dict[str, list[Load]] = defaultdict(list)
                for _, target in itertools.product(range(plan.repeats), targets):
                    if count <= target.most:
                        console.print(f"{count} streams at {cell.tps:g} tokens/s: {target.name}")
                        try:
                            loads[target.name].append(await _load(cell, upstream, target, count))
                        except LoadFailed as failure:
                            found.failures.append(f"{target.name}, {count} streams: {failure}")
                found.loads += map(middle, loads.values())
    return found


async def _measure_starts(plan: Plan, found: GatewayCost, console: Console) -> None:
    try:
        console.print("starts of sandboxes")
        found.starts.starts += await start_costs(plan.starts, "root" if os.geteuid() == 0 else "user")
        if os.geteuid() == 0:
            found.starts.starts += await asyncio.to_thread(start_costs_as_user, plan.starts)
        console.print("sandboxes that are forks")
        found.starts.forks += await fork_costs(plan.forks)
        console.print("make demo")
        found.starts.demo += await asyncio.to_thread(demo_costs, plan.starts.rounds)
    except (RunFailed, EagerError, OSError) as failure:
        found.failures.append(f"starts: {failure}")


async def _sandbox_cost(backend: str) -> SandboxCost:
    """Of the backend itself, as the user's settings make it."""
    settings = Settings(sandbox=backend, output_limit_mb=OUTPUT_LIMIT_BYTES >> 20)
    measured = create_backend(settings, None)
    try:
        return await measure_sandbox(measured)
    finally:
        await measured.close()


async def _targets(plan: Plan, upstream: Server, stack: AsyncExitStack, failures: list[str]) -> list[_Target]:
    targets = [_Target(name="no proxy", server=upstream)]
    command = [sys.executable, "-m", "loadtests.pass_through"]
    bare = server(lambda port: [*command, str(port), upstream.url], {}, ready_path="/healthz")
    targets.append(_Target(name="aiohttp pass-through", server=await stack.enter_async_context(bare)))
    try:
        targets += await _gateway_targets(plan, upstream, stack)
    except ServerFailed as failure:
        failures.append(f"gateway under load: {failure}")
    if not LITELLM.is_there:
        failures.append(LITELLM.missing)
        return targets
    try:
        litellm = await stack.enter_async_context(_litellm(upstream))
        targets.append(_Target(name=f"LiteLLM {LITELLM.version_of('litellm')}", server=litellm))
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
        await wait_ready(f"{target.server.url}/readyz", is_ready=pool_is_quiet)
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


def _load_upstream() -> Any:
    command = [sys.executable, "-m", "loadtests.load_upstream"]
    return server(lambda port: [*command, str(port)], {}, ready_path="/")


@asynccontextmanager
async def _litellm(upstream: Server) -> AsyncIterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="eager-bench-litellm-"))
    try:
        config = folder / "config.yaml"
        config.write_text(_LITELLM_CONFIG.format(url=upstream.url))
        command = [str(LITELLM.folder / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port"]
        environment = {"LITELLM_MASTER_KEY": _KEY, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        async with server(lambda port: [*command, str(port)], environment, ready_path="/health/liveliness") as running:
            yield running
    finally:
        shutil.rmtree(folder)
