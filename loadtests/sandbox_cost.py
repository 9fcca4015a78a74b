"""What a sandbox costs beside the code it runs, measured on a backend in this process: the round trip of an execution
beside that of the bare transport, output, imports, memory.

    backend = LocalBackend(environment, output_limit_bytes=OUTPUT_LIMIT_BYTES, supervisor_options=["--preload", ...])
    cost = await measure_sandbox(backend)

Times on a machine that does other things too mean little: ``floor_us`` is taken in turns with the round trip, and says
how far the two are apart; CPU time hardly depends on the load.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from app.detection.chunk import Chunk
from app.sandbox.backend import Backend
from app.sandbox.worker.execution import Execution
from app.sandbox.worker.messages import Display, Output, Result
from app.sandbox.worker.worker import Worker
from loadtests.measurement import RunFailed
from loadtests.statistics import percentile

#: What a backend has to allow for ``output``.
OUTPUT_LIMIT_BYTES: Final = 1 << 30
_OUTPUT_MB: Final = 128
_WARM_UP: Final = 100
_ROUND: Final = 50
_TIMEOUT_S: Final = 120.0
_PASS: Final = "pass\n"
_IMPORTS: Final = "import pandas\nimport matplotlib.pyplot\n"
_FLOOD: Final = f"""\
import sys
text = 'x' * 65535 + '\\n'
for _ in range({_OUTPUT_MB * 16}):
    sys.stdout.write(text)
"""
#: Of the interpreter alone: pages that no other process has.
_OWN_PAGES: Final = """\
with open('/proc/self/smaps_rollup') as file:
    print(sum(int(line.split()[1]) for line in file if line.startswith('Private_')))
"""
#: Nothing but two system calls.
_ECHO: Final = """\
import socket, sys
stream = socket.socket(fileno=int(sys.argv[1]))
while data := stream.recv(4096):
    stream.send(data)
"""
#: CPU of the interpreter so far.
_CPU: Final = "import time\nprint(time.process_time_ns())\n"


class RoundTrip(msgspec.Struct, frozen=True, kw_only=True):
    """An execution of ``pass`` in a block that goes on, from ``Worker.execute`` to its return. Microseconds.

    Attributes:
        floor_p50: as many bytes to an echoing process over the same kind of socket, and back.
        gateway_cpu: of this process, for one.
        interpreter_cpu: of the process that runs the code, for one; the supervisor's is not in it.
    """

    p50: float
    p99: float
    floor_p50: float
    gateway_cpu: float
    interpreter_cpu: float


class OutputRate(msgspec.Struct, frozen=True, kw_only=True):
    """Text printed as fast as possible, to a sink that takes all. ``gateway_growth_mb`` is by how much this process was
    larger than before, at most."""

    mb_s: float
    gateway_growth_mb: float


#: In a pool a sandbox waits; what it does meanwhile is over after 0.03 s.
_SETTLE_S: Final = 1.0


class SandboxCost(msgspec.Struct, frozen=True, kw_only=True):
    """
    Attributes:
        import_ms: pandas and matplotlib.pyplot, the first time in a session.
        own_mb: memory that the interpreter shares with nobody, once it has copied what it does ahead of its first code;
            ``used_mb`` after imports, executions and output.
    """

    backend: str
    round_trip: RoundTrip
    output: OutputRate
    import_ms: float
    own_mb: float
    used_mb: float


async def measure_sandbox(backend: Backend, *, executions: int = 2000) -> SandboxCost:
    """Start one sandbox, and measure all of it there.

    Raises:
        RunFailed: code of ours did not run to its end.
        SandboxError: the sandbox did not start, or has died.
    """
    async with _session(backend) as session:
        await asyncio.sleep(_SETTLE_S)
        own_mb = await own_memory_mb(session)
        imports = await import_ms(session)
        trip = await round_trip(session, executions=executions)
        rate = await output(session)
        return SandboxCost(
            backend=backend.name,
            round_trip=trip,
            output=rate,
            import_ms=imports,
            own_mb=own_mb,
            used_mb=await own_memory_mb(session),
        )


async def round_trip(session: Worker, *, executions: int) -> RoundTrip:
    for _ in range(_WARM_UP):
        await run_source(session, _PASS)
    trips: list[float] = []
    floors: list[float] = []
    gateway_ns = 0
    interpreter_ns = -int(await _printed(session, _CPU))
    async with _echo() as echo:
        while len(trips) < executions:
            floors += [await _time_us(echo) for _ in range(_ROUND)]
            before = time.process_time_ns()
            trips += [await _time_us(lambda: run_source(session, _PASS)) for _ in range(_ROUND)]
            gateway_ns += time.process_time_ns() - before
    interpreter_ns += int(await _printed(session, _CPU))
    return RoundTrip(
        p50=percentile(trips, 50),
        p99=percentile(trips, 99),
        floor_p50=percentile(floors, 50),
        gateway_cpu=gateway_ns / len(trips) / 1e3,
        interpreter_cpu=interpreter_ns / len(trips) / 1e3,
    )


async def import_ms(session: Worker) -> float:
    """To be measured in a session that has run nothing of the kind."""
    execution = await run_source(session, _IMPORTS)
    return sum(execution.durations_ns) / 1e6


async def own_memory_mb(session: Worker) -> float:
    return int(await _printed(session, _OWN_PAGES)) * 1024 / 1e6


async def output(session: Worker) -> OutputRate:
    sink = _Counter()
    before_mb = _resident_mb()
    began = time.perf_counter()
    await run_source(session, _FLOOD, sink)
    elapsed_s = time.perf_counter() - began
    return OutputRate(mb_s=sink.characters / 1e6 / elapsed_s, gateway_growth_mb=max(0.0, sink.peak_mb - before_mb))


@dataclass
class _Counter:
    """A sink that keeps nothing."""

    characters: int = 0
    peak_mb: float = 0.0
    text: str = ""

    async def __call__(self, message: Output | Display | Result) -> None:
        if isinstance(message, Output):
            self.characters += len(message.text)
            self.text = message.text[-100:]
        self.peak_mb = max(self.peak_mb, _resident_mb())


@asynccontextmanager
async def _session(backend: Backend) -> AsyncIterator[Worker]:
    worker = await backend.start()
    try:
        yield worker
    finally:
        await worker.close()


async def run_source(session: Worker, source: str, sink: _Counter | None = None) -> Execution:
    """
    Raises:
        RunFailed: it did not run to its end.
    """
    chunk = Chunk(index=0, source=source, start=0, end=len(source), line=1, column=0, kind="simple")
    execution = await session.execute(
        [chunk], block="bench", final=False, sink=sink or _Counter(), timeout_s=_TIMEOUT_S
    )
    if execution.status != "ok":
        raise RunFailed(f"{execution.status}: {execution.failure}")
    return execution


async def _printed(session: Worker, source: str) -> str:
    sink = _Counter()
    await run_source(session, source, sink)
    return sink.text


async def _time_us(call: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter_ns()
    await call()
    return (time.perf_counter_ns() - began) / 1e3


class _Echo(asyncio.Protocol):
    """Writes, and is told what comes back: what lies under ``app/sandbox/worker/transport.py``."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.answered.set_result(None)


@asynccontextmanager
async def _echo() -> AsyncIterator[Callable[[], Awaitable[None]]]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _ECHO, str(theirs.fileno()), pass_fds=[theirs.fileno()]
        )
    loop = asyncio.get_running_loop()
    transport, echo = await loop.create_unix_connection(_Echo, sock=ours)

    async def trip() -> None:
        echo.answered = loop.create_future()
        transport.write(b"x" * 128)
        await echo.answered

    try:
        yield trip
    finally:
        transport.close()
        await process.wait()  # it sees the end of the stream


def _resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
