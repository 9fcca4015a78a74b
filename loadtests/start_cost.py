"""How long embedded sandboxes take to start: forks of a zygote beside processes that import for themselves, in turns.

Started as a program, as an ordinary user, it prints what it has measured as JSON:

    python -m loadtests.start_cost '{"starts": 200, ...}'
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

import msgspec

from app.backends import create_backend
from app.config import Settings
from app.sandbox.backend import Backend
from app.sandbox.local.backend import StartBy
from app.sandbox.worker.worker import Worker
from loadtests.measurement import RunFailed
from loadtests.process_tree import below, cpu_s
from loadtests.sandbox_cost import OUTPUT_LIMIT_BYTES
from loadtests.statistics import median, percentile

WAYS: Final[tuple[StartBy, ...]] = ("zygote", "exec")
#: An ordinary user of no group, where this is measured as root.
_USER: Final = 64_999
_BUSY: Final = "while True: pass"


class StartPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured of forks; of starts that import for themselves, which take 40 times as long, less.

    Attributes:
        starts: one after the other.
        at_once: at the same time, so many times.
        beside: starts beside as many busy processes.
    """

    starts: int = 200
    exec_starts: int = 10
    at_once: int = 20
    rounds: int = 3
    beside: int = 100
    exec_beside: int = 3
    busy: int = 8


#: For a sample of half a minute.
FAST_STARTS: Final = StartPlan(starts=40, exec_starts=3, at_once=8, rounds=1, beside=10, exec_beside=1)


class StartCost(msgspec.Struct, frozen=True, kw_only=True):
    """Of one way, as one user. Milliseconds from the call to a worker that is ready, where nothing else is said.

    Attributes:
        at_once: how many at the same time.
        at_once_s: from the first call to the last worker that is ready; ``at_once_cpu_s``: CPU time of this process and
            of all below it meanwhile.
        beside: starts that were made beside busy processes.
    """

    way: StartBy
    user: str
    starts: int
    p50: float
    p99: float
    at_once: int
    at_once_s: float
    at_once_cpu_s: float
    beside: int
    beside_p50: float
    beside_p99: float


async def start_costs(plan: StartPlan, user: str) -> list[StartCost]:
    """
    Raises:
        SandboxError: a sandbox did not start.
    """
    async with both_ways() as backends:
        calm = await _one_by_one(backends, {"zygote": plan.starts, "exec": plan.exec_starts})
        at_once: dict[StartBy, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for number in range(plan.rounds):
            for way, backend in backends.items():
                if way == "zygote" or number == 0:
                    at_once[way].append(await _at_once(backend, plan.at_once))
        with _busy_processes(plan.busy):
            beside = await _one_by_one(backends, {"zygote": plan.beside, "exec": plan.exec_beside})
    return [
        StartCost(
            way=way,
            user=user,
            starts=len(calm[way]),
            p50=percentile(calm[way], 50),
            p99=percentile(calm[way], 99),
            at_once=plan.at_once,
            at_once_s=median([wall for wall, _ in at_once[way]]),
            at_once_cpu_s=median([cpu for _, cpu in at_once[way]]),
            beside=len(beside[way]),
            beside_p50=percentile(beside[way], 50),
            beside_p99=percentile(beside[way], 99),
        )
        for way in WAYS
    ]


def start_costs_as_user(plan: StartPlan) -> list[StartCost]:
    """The same in a process of an ordinary user. Blocks.

    Raises:
        RunFailed: it did not end well, such as where that user may not read what is needed.
    """
    with tempfile.TemporaryDirectory(prefix="eager-bench-user-") as home:
        os.chown(home, _USER, _USER)
        done = subprocess.run(
            [sys.executable, "-m", "loadtests.start_cost", msgspec.json.encode(plan).decode()],
            capture_output=True,
            env={**os.environ, "HOME": home, "TMPDIR": home, "EAGER_DATA_DIR": home, "PYTHONDONTWRITEBYTECODE": "1"},
            user=_USER,
            group=_USER,
            extra_groups=[],
        )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise RunFailed(f"as an ordinary user: {said[-1] if said else f'status {done.returncode}'}")
    return msgspec.json.decode(done.stdout, type=list[StartCost])


@asynccontextmanager
async def both_ways() -> AsyncIterator[dict[StartBy, Backend]]:
    """A backend for each way, as the user's settings make it, that has started one sandbox already.

    Raises:
        SandboxStartError: a sandbox did not start.
        RunFailed: there is no zygote here.
    """
    async with AsyncExitStack() as stack:
        backends: dict[StartBy, Backend] = {}
        for way in WAYS:
            backend = create_backend(
                Settings(sandbox="local", local_start=way, output_limit_mb=OUTPUT_LIMIT_BYTES >> 20), None
            )
            stack.push_async_callback(backend.close)
            await (await backend.start()).close()
            if way == "zygote" and not getattr(backend, "is_quick", False):
                raise RunFailed("sandboxes cannot be forked here")
            backends[way] = backend
        yield backends


async def _one_by_one(backends: Mapping[StartBy, Backend], counts: Mapping[StartBy, int]) -> dict[StartBy, list[float]]:
    """In turns: as often as the way with the fewest is started, the other one its share."""
    turns = min(counts.values())
    taken: dict[StartBy, list[float]] = {way: [] for way in backends}
    for turn in range(turns):
        for way, backend in backends.items():
            for _ in range(counts[way] * turn // turns, counts[way] * (turn + 1) // turns):
                began = time.perf_counter()
                worker = await backend.start()
                taken[way].append((time.perf_counter() - began) * 1e3)
                await worker.close()
    return taken


async def _at_once(backend: Backend, count: int) -> tuple[float, float]:
    """Seconds until all are ready, and of CPU."""
    workers: list[Worker] = []
    before, began = cpu_s([os.getpid(), *below(os.getpid())]), time.perf_counter()
    try:
        async with asyncio.TaskGroup() as tasks:
            started = [tasks.create_task(backend.start()) for _ in range(count)]
        took_s = time.perf_counter() - began
        workers = [task.result() for task in started]
        return took_s, cpu_s([os.getpid(), *below(os.getpid())]) - before
    finally:
        await asyncio.gather(*(worker.close() for worker in workers))


@contextmanager
def _busy_processes(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-I", "-S", "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    plan = msgspec.json.decode(sys.argv[1], type=StartPlan)
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(start_costs(plan, "user"))))


if __name__ == "__main__":
    main()
