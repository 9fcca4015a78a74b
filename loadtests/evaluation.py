"""Runs programs through the real gateway over HTTP: upstream, gateways and sandboxes as users run them.

*Lanes* run programs side by side, each in sandboxes of its own, and no sandbox is started or closed while anything is
measured. A lane has all runs of a program, back to back, in an order that rotates with the repeats, so that what is
compared has seen the same machine. What is measured of a run, its execution behind the last token, has the machine's
time for itself (``windows.py``); with one lane all of the run has.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loadtests.corpus import Program
from loadtests.gateway_client import PYTHON_TOOL, GatewayClient
from loadtests.measurement import Measurement, Mode, Run, RunFailed, measure
from loadtests.processes import Server, ServerFailed, eager, gateway, server
from loadtests.store import ResultStore
from loadtests.windows import Windows

_REQUEST_TIMEOUT_S: Final = 300.0
#: Of a window: before the last token, and added to what the execution behind it is expected to take.
_LEAD_S: Final = 0.1
_MARGIN_S: Final = 0.2
#: One run that was slowed down from outside must not hold up all that come after it.
_LONGEST_S: Final = 8.0
#: A fresh interpreter is forked in milliseconds; a kernel is a new process and takes a core for this long.
_RESTART_S: Final = {"jupyter": 2.0}
#: Execution behind the last token as a part of a program's CPU time, until it has been measured.
_EXPECTED: Final[dict[Mode, float]] = {"cold": 1.3, "warm": 1.0, "eager": 0.7}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """
    Attributes:
        lanes: programs run side by side.
        serial_once: serial runs at the highest rate only. They generate first and execute then, so their execution does
            not know the rate: ``summaries.at_rate`` makes them those of another.
        limit_s: it ends after that long, done or not; None for no limit.
    """

    corpus: Path
    programs: Sequence[Program]
    backends: Sequence[str]
    rates: Sequence[float]
    modes: Sequence[Mode]
    repeats: int
    ttft_ms: float
    lanes: int = 1
    serial_once: bool = False
    limit_s: float | None = None

    def runs(self, program: Program, backend: str, repeat: int) -> Iterator[Run]:
        """What is compared stands side by side."""
        turn = repeat % len(self.modes)
        modes = (*self.modes[turn:], *self.modes[:turn])
        for tps, mode in itertools.product(self.rates, modes):
            if mode == "eager" or not self.serial_once or tps == max(self.rates):
                yield _run(program, backend, tps, mode, repeat)

    @property
    def size(self) -> int:
        each = sum(1 for _ in self.runs(self.programs[0], "", 0)) if self.programs else 0
        return len(self.programs) * len(self.backends) * self.repeats * each


async def evaluate(plan: Plan, store: ResultStore) -> list[str]:
    """Do what the store lacks of the plan: every program on every backend before any runs again. Returns what could
    not be measured, and why."""
    failures: list[str] = []
    replay = eager("upstream", "--corpus", str(plan.corpus), "--ttft-ms", str(plan.ttft_ms))
    with _progress() as progress:
        bar = progress.add_task("starting", total=plan.size)

        def advance(description: str) -> None:
            progress.update(bar, description=description, advance=1)

        try:
            async with asyncio.timeout(plan.limit_s), server(replay, {}, ready_path="/v1/models") as upstream:
                for repeat, backend in itertools.product(range(plan.repeats), plan.backends):
                    await _repeat(plan, upstream, backend, repeat, store, failures, advance)
        except TimeoutError:
            failures.append(f"what did not fit into {plan.limit_s:g} s: {plan.size - len(store.measurements)} runs")
    return failures


async def _repeat(
    plan: Plan,
    upstream: Server,
    backend: str,
    repeat: int,
    store: ResultStore,
    failures: list[str],
    advance: Callable[[str], None],
) -> None:
    """The longest programs come first, so that the lanes end at about the same time."""
    programs = sorted(plan.programs, key=lambda program: program.chars, reverse=True)
    runs = {program: list(plan.runs(program, backend, repeat)) for program in programs}
    if all(run in store for run in itertools.chain(*runs.values())):
        return
    queue = iter(runs.items())
    try:
        async with _Bench(upstream, backend, plan, store) as bench, asyncio.TaskGroup() as lanes:
            for _ in range(min(plan.lanes, len(programs))):
                lanes.create_task(_Lane(bench).work(queue, failures, advance))
    except ServerFailed as failure:
        failures.append(f"{backend}: {failure}")


class _Bench:
    """The two gateways of one backend: with warm sandboxes, and with cold ones if the plan wants them."""

    def __init__(self, upstream: Server, backend: str, plan: Plan, store: ResultStore) -> None:
        self.upstream, self.backend, self.plan, self.store = upstream, backend, plan, store
        self.windows = Windows()
        self.clients: dict[Mode, GatewayClient] = {}
        self.number = itertools.count()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> _Bench:
        async with AsyncExitStack() as stack:
            timeout = aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_S)
            self.http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            # A sandbox for each lane and room for no more: none is started beside the code that is measured.
            lanes = str(self.plan.lanes)
            settings = {"EAGER_POOL_SIZE": lanes, "EAGER_SANDBOX_LIMIT": lanes, "EAGER_SESSION_LIMIT": lanes}
            warm = await stack.enter_async_context(gateway(self.upstream, self.backend, **settings))
            self.clients["eager"] = self.clients["warm"] = GatewayClient(self.http, warm.url)
            if "cold" in self.plan.modes:
                settings["EAGER_PRELOAD"] = ""
                cold = await stack.enter_async_context(gateway(self.upstream, self.backend, **settings))
                self.clients["cold"] = GatewayClient(self.http, cold.url)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def window(self, ahead_s: float, length_s: float) -> None:
        """Wait until a window of that length begins in ``ahead_s``."""
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(self.windows.reserve(now, now + ahead_s, length_s) - ahead_s - now)

    def behind_s(self, program: Program, run: Run) -> float:
        """How long execution behind the last token is expected to take: as the longest before."""
        before = [
            m.nel_ms / 1e3
            for m in self.store.measurements
            if (m.run.program, m.run.backend, m.run.mode) == (run.program, run.backend, run.mode)
        ]
        return min(max(before, default=program.cpu_s * _EXPECTED[run.mode]), _LONGEST_S)

    async def tokens(self, model: str) -> tuple[int, int]:
        """What the upstream has sent of this answer, and what it would have."""
        query = {"model": model}
        async with self.http.get(f"{self.upstream.url}/__requests", params=query) as answer:
            (record,) = await answer.json()
        async with self.http.delete(f"{self.upstream.url}/__requests", params=query):
            return record["tokens_sent"], record["tokens_total"]


class _Lane:
    """One program after the other, in sessions of its own. Between two runs the interpreter is ended and the work
    folder emptied: the next one gets what a fresh sandbox has."""

    def __init__(self, bench: _Bench) -> None:
        self._bench = bench
        self._sessions: dict[GatewayClient, str] = {}

    async def work(
        self, queue: Iterable[tuple[Program, Sequence[Run]]], failures: list[str], advance: Callable[[str], None]
    ) -> None:
        for program, runs in queue:
            for run in runs:
                advance(f"{run.backend} {run.program}@{run.tps:g} {run.mode}")
                if run in self._bench.store:
                    continue
                try:
                    self._bench.store.add(await self._measure(program, run))
                except (RunFailed, aiohttp.ClientError, TimeoutError) as failure:
                    told = str(failure) or type(failure).__name__
                    failures.append(f"{run.program}@{run.tps:g} {run.mode}, {run.backend}: {told}")
                    # Its state is unknown. The gateway closes the sandbox when the last lane is done.
                    self._sessions.pop(self._bench.clients[run.mode], None)

    async def _measure(self, program: Program, run: Run) -> Measurement:
        bench, client = self._bench, self._bench.clients[run.mode]
        if client not in self._sessions:
            self._sessions[client] = await client.open_session()
        session = self._sessions[client]
        if restart_s := _RESTART_S.get(run.backend):
            await bench.window(0, restart_s)
        await client.renew(session, program.data)
        model = f"{next(bench.number)}/{program.id}@{run.tps:g}"
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "Go."}],
            "tools": [PYTHON_TOOL],
            "stream": True,
            "eager": {"mode": "eager" if run.mode == "eager" else "serial", "session": session},
        }
        generation_s = bench.plan.ttft_ms / 1e3 + program.tokens / run.tps
        await bench.window(max(0, generation_s - _LEAD_S), _LEAD_S + bench.behind_s(program, run) + _MARGIN_S)
        events, e2el_ms = await client.complete(body)
        sent, total = await bench.tokens(model)
        return measure(
            run,
            events,
            e2el_ms=e2el_ms,
            stdout=program.stdout,
            tokens_sent=sent,
            tokens_total=total,
            ttft_ms=bench.plan.ttft_ms,
        )


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
