"""Other executors of code that is still being written, on the same programs at the same pace: when a statement starts
after it is complete, end to end, what it prints; and what finding statements costs.

The programs (``peer_programs/``) keep to the Python that all of them run: no imports. Complete is a statement with the
newline that ends it, wherever the next one begins. The peers run on a newer Python, in a virtual environment of their
own, and hand tokens over in their own process; ours come through the replay upstream and the gateway, over HTTP.
"""

from __future__ import annotations

import ast
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from rich.console import Console

from loadtests.corpus import CHARS_PER_TOKEN
from loadtests.detection_cost import SHAPES, microseconds_per_token
from loadtests.gateway_client import PYTHON_TOOL, GatewayClient
from loadtests.installs import PEERS
from loadtests.measurement import JsonEvent, RunFailed
from loadtests.processes import ServerFailed, eager, gateway, server

PROGRAMS: Final = Path(__file__).with_name("peer_programs")
OURS: Final = "Eager"
_DRIVERS: Final = Path(__file__).absolute().with_name("peer_drivers")
#: Distribution -> its driver.
_PEERS: Final = {"pydantic-ai-harness": "drive_codemode.py", "playbooks": "drive_playbooks.py"}
_NAMES: Final = {"pydantic-ai-harness": "pydantic-ai-harness {} CodeMode(eager)", "playbooks": "playbooks {}"}
_ENVIRONMENT: Final = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
_LOAD_TIMEOUT_S: Final = 120.0
_ANSWER_TIMEOUT_S: Final = 120.0
#: Shape of ``detection_cost`` -> its lines, and the seconds of CPU after which a peer is stopped.
_DETECTION: Final = {"flat code": 2000, "one function": 2000, "one string": 2000}
_DETECTION_LIMIT_S: Final = 8.0
_LINE_LIMIT: Final = 1 << 24


class PeerRun(msgspec.Struct, frozen=True, kw_only=True):
    """One program at one pace. ``late_ms``: for each top-level statement, from its newline to its start; ``tokens``:
    sent of ``tokens_total``, fewer if generation was stopped."""

    system: str
    program: str
    tps: float
    late_ms: list[float]
    e2el_ms: float
    generation_ms: float
    tokens: int
    tokens_total: int
    equal: bool


class PeerDetection(msgspec.Struct, frozen=True, kw_only=True):
    """Microseconds of CPU per token; ``reached`` is the part of the code that was read, ``stopped`` that it gave up
    before the end by itself."""

    system: str
    shape: str
    lines: int
    cpu_us: float
    reached: float
    stopped: bool


class PeersFound(msgspec.Struct, kw_only=True):
    runs: list[PeerRun] = msgspec.field(default_factory=list)
    detection: list[PeerDetection] = msgspec.field(default_factory=list)
    failures: list[str] = msgspec.field(default_factory=list)


async def measure_peers(rates: Sequence[float], repeats: int, backend: str, console: Console) -> PeersFound:
    found = PeersFound()
    programs = {path.stem: path.read_text() for path in sorted(PROGRAMS.glob("*.py"))}
    expected = {name: _printed_by(code) for name, code in programs.items()}
    console.print(f"{OURS}, {backend}")
    try:
        await _ours(found, programs, expected, rates, repeats, backend)
    except (ServerFailed, RunFailed) as failure:
        found.failures.append(f"{OURS}: {failure}")
    if not PEERS.is_there:
        found.failures.append(PEERS.missing)
        return found
    for distribution, script in _PEERS.items():
        name = _NAMES[distribution].format(PEERS.version_of(distribution))
        console.print(name)
        try:
            await _peer(found, name, script, programs, expected, rates, repeats)
        except (RunFailed, TimeoutError) as failure:
            found.failures.append(f"{name}: {failure or 'no answer'}")
    return found


async def _ours(
    found: PeersFound,
    programs: Mapping[str, str],
    expected: Mapping[str, str],
    rates: Sequence[float],
    repeats: int,
    backend: str,
) -> None:
    for shape, lines in _DETECTION.items():
        cost = microseconds_per_token(SHAPES[shape](lines), check_lines=True, confirm=True)
        found.detection.append(
            PeerDetection(system=OURS, shape=shape, lines=lines, cpu_us=cost, reached=1, stopped=False)
        )
    settings = {"EAGER_POOL_SIZE": "1", "EAGER_SANDBOX_LIMIT": "1"}
    async with (
        server(eager("upstream", "--corpus", str(PROGRAMS), "--ttft-ms", "0"), {}, ready_path="/v1/models") as upstream,
        gateway(upstream, backend, **settings) as running,
        aiohttp.ClientSession() as http,
    ):
        client = GatewayClient(http, running.url)
        async with client.session() as session:
            for name, code in programs.items():
                for tps in rates:
                    for _ in range(repeats):
                        await client.renew(session)
                        body = {
                            "model": f"{name}@{tps:g}",
                            "messages": [{"role": "user", "content": "Go."}],
                            "tools": [PYTHON_TOOL],
                            "stream": True,
                            "eager": {"session": session},
                        }
                        events, e2el_ms = await client.complete(body)
                        found.runs.append(_our_run(name, code, tps, events, e2el_ms, expected[name]))


def _our_run(name: str, code: str, tps: float, events: Sequence[JsonEvent], e2el_ms: float, expected: str) -> PeerRun:
    chunks = {event["chunk"]: event for event in events if event["type"] == "chunk"}
    starts = [
        event["t_ms"]
        for event in events
        if event["type"] == "exec.start"
        for chunk in event["chunks"]
        for _ in ast.parse(code[chunks[chunk]["start"] : chunks[chunk]["end"]]).body
    ]
    printed = (event["text"] for event in events if event["type"] == "exec.output" and event["stream"] == "stdout")
    total = -(-len(code) // CHARS_PER_TOKEN)
    sent = sum(event["type"] == "token" and bool(event["text"]) for event in events)
    return PeerRun(
        system=OURS,
        program=name,
        tps=tps,
        late_ms=late_ms(code, starts, [number / tps * 1e3 for number in range(1, total + 1)]),
        e2el_ms=e2el_ms,
        generation_ms=total / tps * 1e3,
        tokens=min(sent, total),
        tokens_total=total,
        equal="".join(printed) == expected,
    )


def late_ms(code: str, starts_ms: Sequence[float], sent_ms: Sequence[float]) -> list[float]:
    """For each top-level statement that started: its start, after the token that holds its last newline."""
    ends = [0]
    for line in code.splitlines(keepends=True):
        ends.append(ends[-1] + len(line))
    complete = [
        sent_ms[min((ends[statement.end_lineno or 0] - 1) // CHARS_PER_TOKEN, len(sent_ms) - 1)]
        for statement in ast.parse(code).body
    ]
    return [start - at for start, at in zip(starts_ms, complete, strict=False)]


async def _peer(
    found: PeersFound,
    name: str,
    script: str,
    programs: Mapping[str, str],
    expected: Mapping[str, str],
    rates: Sequence[float],
    repeats: int,
) -> None:
    async with _driver(script) as driver:
        for shape, lines in _DETECTION.items():
            code = SHAPES[shape](lines)
            told = await driver.ask({"code": code, "tps": 0, "limit_s": _DETECTION_LIMIT_S})
            found.detection.append(
                PeerDetection(
                    system=name,
                    shape=shape,
                    lines=lines,
                    cpu_us=told["cpu_us"],
                    reached=told["tokens"] * CHARS_PER_TOKEN / len(code),
                    stopped=bool(told.get("stopped")),
                )
            )
        for program, code in programs.items():
            for tps in rates:
                for _ in range(repeats):
                    told = await driver.ask({"code": code, "tps": tps})
                    found.runs.append(_peer_run(name, program, code, tps, told, expected[program]))


def _peer_run(system: str, program: str, code: str, tps: float, told: Mapping[str, Any], expected: str) -> PeerRun:
    """By the clock of the model: its first token is due one token's time after the request."""
    began_s = told["sent_s"][0] - 1 / tps
    total = -(-len(code) // CHARS_PER_TOKEN)
    return PeerRun(
        system=system,
        program=program,
        tps=tps,
        late_ms=late_ms(
            code, [(at - began_s) * 1e3 for at in told["starts"]], [(at - began_s) * 1e3 for at in told["sent_s"]]
        ),
        e2el_ms=(told["end_s"] - began_s) * 1e3,
        generation_ms=total / tps * 1e3,
        tokens=len(told["sent_s"]),
        tokens_total=total,
        equal=told["stdout"].strip() == expected.strip(),
    )


class _Driver:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, job: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode({"chars": CHARS_PER_TOKEN, **job}) + b"\n")
        await self._process.stdin.drain()
        return await self.read(_ANSWER_TIMEOUT_S)

    async def read(self, limit_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(limit_s):
            line = await self._process.stdout.readline()
        if not line:
            raise RunFailed("its driver ended")
        told: dict[str, Any] = msgspec.json.decode(line)
        return told


@asynccontextmanager
async def _driver(script: str) -> AsyncIterator[_Driver]:
    folder = tempfile.TemporaryDirectory(prefix="eager-bench-peer-")  # peers leave caches where they work
    process = await asyncio.create_subprocess_exec(
        *(PEERS.interpreter.absolute(), _DRIVERS / script),
        cwd=folder.name,
        env={**os.environ, **_ENVIRONMENT},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LINE_LIMIT,
    )
    try:
        driver = _Driver(process)
        await driver.read(_LOAD_TIMEOUT_S)
        yield driver
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        folder.cleanup()


def _printed_by(code: str) -> str:
    """By CPython, the whole of it at once; up to its error, if it has one."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout
