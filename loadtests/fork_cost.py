"""What sandboxes that are forks have beside those that imported for themselves: first uses of libraries, memory, the
round trip, output. Both in one run, in turns."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec

from app.sandbox.backend import Backend
from app.sandbox.local.backend import StartBy
from app.sandbox.worker.worker import Worker
from loadtests.process_tree import below, proportional_mb, shared_by_sandboxes
from loadtests.sandbox_cost import output, round_trip, run_source
from loadtests.start_cost import WAYS, both_ways
from loadtests.statistics import median

#: In a pool a sandbox waits; what it does ahead meanwhile is over by then.
_SETTLE_S: Final = 1.0
_DESCRIBE: Final = """\
import pandas as pd
table = pd.DataFrame({"x": range(200), "y": [number % 7 / 3 for number in range(200)], "name": list("abcde") * 40})
print(table.describe())
"""
_PLOT: Final = """\
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(6, 4))
axes.plot([1, 2, 3, 4], [1, 4, 9, 16], marker="o", label="squares")
axes.set(title="Squares", xlabel="n", ylabel="n squared")
axes.legend()
axes.grid(True)
plt.show()
"""


class ForkPlan(msgspec.Struct, frozen=True, kw_only=True):
    """
    Attributes:
        rounds: of first uses, with a sandbox of each way in each.
        steady_rounds: of round trips and output.
        many: forks that are open at once; ``exec_many``: of the other way.
    """

    rounds: int = 11
    steady_rounds: int = 5
    executions: int = 1000
    many: int = 200
    exec_many: int = 8


#: For a sample of half a minute.
FAST_FORKS: Final = ForkPlan(rounds=3, steady_rounds=1, executions=200, many=20, exec_many=2)


class ForkCost(msgspec.Struct, frozen=True, kw_only=True):
    """Of one way; medians.

    Attributes:
        describe_ms, plot_ms: the first in a settled sandbox, in this order, with all that is shown.
        round_trip_us: of an execution of ``pass``.
        output_mb_s: text that is printed as fast as possible.
        open: sandboxes at once, of which memory was measured.
        idle_mb: PSS of one's processes, settled; ``plotted_mb``: after the above.
        shared_mb: of what serves all of them, once; 0 where nothing does.
    """

    way: StartBy
    describe_ms: float
    plot_ms: float
    round_trip_us: float
    output_mb_s: float
    open: int
    idle_mb: float
    plotted_mb: float
    shared_mb: float


async def fork_costs(plan: ForkPlan) -> list[ForkCost]:
    """
    Raises:
        RunFailed: code of ours did not run to its end.
        SandboxError: a sandbox did not start, or has died.
    """
    async with both_ways() as backends:
        uses: dict[StartBy, list[tuple[float, float]]] = {way: [] for way in WAYS}
        steady: dict[StartBy, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for number in range(max(plan.rounds, plan.steady_rounds)):
            async with AsyncExitStack() as stack:
                workers = {way: await stack.enter_async_context(_opened(backends[way])) for way in WAYS}
                await asyncio.sleep(_SETTLE_S)
                for way in WAYS if number % 2 else reversed(WAYS):
                    if number < plan.rounds:
                        uses[way].append((await _took_ms(workers[way], _DESCRIBE), await _took_ms(workers[way], _PLOT)))
                for way in WAYS if number % 2 else reversed(WAYS):
                    if number < plan.steady_rounds:
                        trip = await round_trip(workers[way], executions=plan.executions)
                        steady[way].append((trip.p50, (await output(workers[way])).mb_s))
        memory = {way: await _memory(backends[way], plan.many if way == "zygote" else plan.exec_many) for way in WAYS}
    return [
        ForkCost(
            way=way,
            describe_ms=median([describe for describe, _ in uses[way]]),
            plot_ms=median([plot for _, plot in uses[way]]),
            round_trip_us=median([trip for trip, _ in steady[way]]),
            output_mb_s=median([rate for _, rate in steady[way]]),
            open=plan.many if way == "zygote" else plan.exec_many,
            idle_mb=memory[way][0],
            plotted_mb=memory[way][1],
            shared_mb=memory[way][2] if way == "zygote" else 0.0,
        )
        for way in WAYS
    ]


@asynccontextmanager
async def _opened(backend: Backend) -> AsyncIterator[Worker]:
    worker = await backend.start()
    try:
        yield worker
    finally:
        await worker.close()


async def _took_ms(worker: Worker, source: str) -> float:
    began = time.perf_counter()
    await run_source(worker, source)
    return (time.perf_counter() - began) * 1e3


async def _memory(backend: Backend, count: int) -> tuple[float, float, float]:
    """MB of one idle sandbox, of one after its uses, and of what they share."""
    before = below(os.getpid())
    shared = shared_by_sandboxes(before)
    workers: list[Worker] = []
    try:
        for _ in range(count):
            workers.append(await backend.start())
        await asyncio.sleep(_SETTLE_S)
        idle_mb = _of_one(before, count)
        for worker in workers:
            await run_source(worker, _DESCRIBE)
            await run_source(worker, _PLOT)
        return idle_mb, _of_one(before, count), proportional_mb(shared)
    finally:
        await _close_all(workers)


def _of_one(before: set[int], count: int) -> float:
    """Without a zygote that was started meanwhile."""
    started = below(os.getpid()) - before
    return proportional_mb(started - shared_by_sandboxes(started)) / count


async def _close_all(workers: Sequence[Worker]) -> None:
    await asyncio.gather(*(worker.close() for worker in workers))
