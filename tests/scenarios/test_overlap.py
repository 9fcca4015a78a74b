"""A slow call runs while the statement after it is still being written; an early error stops the model early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.scenarios.client import JsonEvent, body, collect, cut_short, of_type
from tests.scenarios.servers import eager

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRICKY = Path(__file__).parents[1] / "tricky"
LATE = ("late_dict", "late_triple", "late_try")
#: Where they fail: exception and line.
EARLY = {"early_error": ("ZeroDivisionError", 1), "early_syntax": ("SyntaxError", 2)}
PROGRAMS = (*LATE, *EARLY)


@pytest.fixture(scope="module")
def tricky_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("overlap")
    for file in TRICKY.glob("*_*.py"):
        (folder / file.name).write_bytes(file.read_bytes())
    with eager("upstream", "--corpus", str(folder), "--tps", "150", "--ttft-ms", "50") as server:
        yield server.url


@dataclass
class Run:
    """``sent`` is the upstream's record of a generation that had to end early."""

    events: list[JsonEvent]
    sent: dict[str, Any] | None = None


Runs = dict[str, asyncio.Task[Run]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runs(backend: str, tricky_upstream: str) -> AsyncIterator[Runs]:
    """Of all programs, side by side, each in a sandbox that was there before: they only wait for their tokens."""
    settings = {"EAGER_SANDBOX": backend, "EAGER_PRELOAD": "", "EAGER_POOL_SIZE": str(len(PROGRAMS))}
    with eager("serve", EAGER_UPSTREAM_BASE_URL=f"{tricky_upstream}/v1", **settings) as server:
        async with (
            httpx.AsyncClient(base_url=server.url, timeout=60) as gateway,
            httpx.AsyncClient(base_url=tricky_upstream, timeout=60) as upstream,
        ):

            async def run(name: str) -> Run:
                found = await collect(gateway, body(name))
                return Run(found, await cut_short(upstream, name) if name in EARLY else None)

            async with asyncio.timeout(60):
                while (await gateway.get("/readyz")).json()["pool"]["warm"] < len(PROGRAMS):
                    await asyncio.sleep(0.05)
            begun = {name: asyncio.create_task(run(name)) for name in PROGRAMS}
            await asyncio.wait(begun.values())
            yield begun


def tokens_between(events: list[JsonEvent], offset: int, event: JsonEvent) -> int:
    """Tokens that came after the one that brought the code up to ``offset``, and before an event."""
    received = tokens = 0
    for earlier in events[: event["seq"]]:
        if earlier["type"] == "token":
            tokens += received >= offset
            received += len(earlier["text"])
    return tokens


@pytest.mark.parametrize("name", LATE)
async def test_a_slow_call_starts_at_its_newline_and_hides_behind_the_next_statement(runs: Runs, name: str) -> None:
    found = (await runs[name]).events
    source = (TRICKY / f"{name}.py").read_text()
    slow_ends = source.index("\n", source.index("secs=2.0")) + 1
    (slow,) = (event for event in of_type(found, "chunk") if event["end"] == slow_ends)
    started = next(event for event in of_type(found, "exec.start") if slow["chunk"] in event["chunks"])
    # It is known in the moment of its newline, and starts long before the next statement is written.
    assert tokens_between(found, slow_ends, slow) == 0
    following = (len(source) - slow_ends) // 4
    assert tokens_between(found, slow_ends, started) <= following // 10
    # It ended before the statement after it had been written.
    ended = next(event for event in of_type(found, "exec.end") if event["batch"] == started["batch"])
    assert ended["status"] == "ok"
    assert ended["seq"] < of_type(found, "turn.end")[0]["seq"]
    assert found[-1]["timing"]["saved_ms"] > 1500


@pytest.mark.parametrize(("name", "ename", "line"), [(name, *error) for name, error in EARLY.items()])
async def test_an_early_error_stops_the_model(runs: Runs, name: str, ename: str, line: int) -> None:
    run = await runs[name]
    (error,) = of_type(run.events, "exec.error")
    assert (error["ename"], error["line"]) == (ename, line)
    assert of_type(run.events, "interrupt")
    assert not [event for event in run.events[error["seq"] :] if event["type"] == "token"]
    assert run.sent is not None
    assert not run.sent["finished"]
    assert run.sent["tokens_sent"] < run.sent["tokens_total"]
