"""Runs programs through the real gateway over HTTP: upstream, gateways and sandboxes as users run them.

One program at a time, and only when no sandbox is being started: two cores are few. The modes of a program run back to
back, in an order that rotates with the repeats, so that what is compared has seen the same machine.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from loadtests.corpus import Program
from loadtests.gateway_client import PYTHON_TOOL, GatewayClient
from loadtests.measurement import Measurement, Mode, Run, RunFailed, measure
from loadtests.processes import Server, ServerFailed, eager, gateway, pool_is_quiet, server, wait_ready
from loadtests.store import ResultStore

_REQUEST_TIMEOUT_S: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``limit_s``: it ends after that long, done or not; None for no limit."""

    corpus: Path
    programs: Sequence[Program]
    backends: Sequence[str]
    rates: Sequence[float]
    modes: Sequence[Mode]
    repeats: int
    ttft_ms: float
    limit_s: float | None = None

    def runs(self, backend: str) -> Iterator[tuple[Program, Run]]:
        """What is compared stands side by side. Every program runs once before any runs again."""
        for repeat in range(self.repeats):
            turn = repeat % len(self.modes)
            modes = (*self.modes[turn:], *self.modes[:turn])
            for program, tps, mode in itertools.product(self.programs, self.rates, modes):
                yield program, _run(program, backend, tps, mode, repeat)

    @property
    def size(self) -> int:
        return len(self.programs) * len(self.backends) * len(self.rates) * len(self.modes) * self.repeats


async def evaluate(plan: Plan, store: ResultStore) -> list[str]:
    """Do what the store lacks of the plan. Returns what could not be measured, and why."""
    failures: list[str] = []
    replay = eager("upstream", "--corpus", str(plan.corpus), "--ttft-ms", str(plan.ttft_ms))
    try:
        async with asyncio.timeout(plan.limit_s), server(replay, {}, ready_path="/v1/models") as upstream:
            with _progress() as progress:
                bar = progress.add_task("starting", total=plan.size)
                for backend in plan.backends:
                    try:
                        async with _Bench(upstream, backend, plan) as bench:
                            await _measure_all(plan, backend, bench, store, failures, progress, bar)
                    except ServerFailed as failure:
                        failures.append(f"{backend}: {failure}")
    except TimeoutError:
        failures.append(f"what did not fit into {plan.limit_s:g} s")
    return failures


async def _measure_all(
    plan: Plan, backend: str, bench: _Bench, store: ResultStore, failures: list[str], progress: Progress, bar: TaskID
) -> None:
    for program, run in plan.runs(backend):
        progress.update(bar, description=f"{backend} {run.program}@{run.tps:g} {run.mode}")
        if run not in store:
            try:
                store.add(await bench.measure(program, run))
            except RunFailed as failure:
                failures.append(f"{run.program}@{run.tps:g} {run.mode}, {backend}: {failure}")
        progress.advance(bar)


class _Bench:
    """The two gateways of one backend: with warm sandboxes, and with cold ones if the plan wants them."""

    def __init__(self, upstream: Server, backend: str, plan: Plan) -> None:
        self._upstream, self._backend, self._plan = upstream, backend, plan
        self._stack = AsyncExitStack()
        self._clients: dict[Mode, GatewayClient] = {}

    async def __aenter__(self) -> _Bench:
        async with AsyncExitStack() as stack:
            timeout = aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_S)
            self._http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            settings = {"EAGER_POOL_SIZE": "1", "EAGER_SANDBOX_LIMIT": "4"}
            warm = await stack.enter_async_context(gateway(self._upstream, self._backend, **settings))
            self._clients["eager"] = self._clients["warm"] = GatewayClient(self._http, warm.url)
            if "cold" in self._plan.modes:
                settings["EAGER_PRELOAD"] = ""
                cold = await stack.enter_async_context(gateway(self._upstream, self._backend, **settings))
                self._clients["cold"] = GatewayClient(self._http, cold.url)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def measure(self, program: Program, run: Run) -> Measurement:
        client = self._clients[run.mode]
        async with client.session(program.data) as session:
            await wait_ready(f"{client.url}/readyz", pool_is_quiet)
            body = {
                "model": f"{program.id}@{run.tps:g}",
                "messages": [{"role": "user", "content": "Go."}],
                "tools": [PYTHON_TOOL],
                "stream": True,
                "eager": {"mode": "eager" if run.mode == "eager" else "serial", "session": session},
            }
            events, e2el_ms = await client.complete(body)
        sent, total = await self._tokens()
        return measure(
            run,
            events,
            e2el_ms=e2el_ms,
            stdout=program.stdout,
            tokens_sent=sent,
            tokens_total=total,
            ttft_ms=self._plan.ttft_ms,
        )

    async def _tokens(self) -> tuple[int, int]:
        """What the upstream has sent of its latest answer, and what it would have."""
        async with self._http.get(f"{self._upstream.url}/__requests") as answer:
            latest = (await answer.json())[-1]
        async with self._http.delete(f"{self._upstream.url}/__requests"):
            return latest["tokens_sent"], latest["tokens_total"]


def _run(program: Program, backend: str, tps: float, mode: Mode, repeat: int) -> Run:
    return Run(
        program=program.id,
        benchmark=program.benchmark,
        kind=program.kind,
        backend=backend,
        tps=tps,
        mode=mode,
        repeat=repeat,
    )


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
