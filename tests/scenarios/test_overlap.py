"""A slow call runs while the statement after it is still being written; an early error stops the model early."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.scenarios.client import JsonEvent, body, collect, cut_short, of_type
from tests.scenarios.servers import eager

TRICKY = Path(__file__).parents[1] / "tricky"


@pytest.fixture(scope="module")
def tricky_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("overlap")
    for file in TRICKY.glob("*_*.py"):
        (folder / file.name).write_bytes(file.read_bytes())
    with eager("upstream", "--corpus", str(folder), "--tps", "100", "--ttft-ms", "50") as server:
        yield server.url


@pytest.fixture(scope="module")
def tricky_gateway(backend: str, tricky_upstream: str) -> Iterator[str]:
    settings = {"EAGER_SANDBOX": backend, "EAGER_PRELOAD": ""}
    with eager("serve", EAGER_UPSTREAM_BASE_URL=f"{tricky_upstream}/v1", **settings) as server:
        yield server.url


def tokens_between(events: list[JsonEvent], offset: int, event: JsonEvent) -> int:
    """Tokens that came after the one that brought the code up to ``offset``, and before an event."""
    received = tokens = 0
    for earlier in events[: event["seq"]]:
        if earlier["type"] == "token":
            tokens += received >= offset
            received += len(earlier["text"])
    return tokens


@pytest.mark.parametrize("name", ["late_dict", "late_triple", "late_try"])
async def test_a_slow_call_starts_at_its_newline_and_hides_behind_the_next_statement(
    tricky_gateway: str, name: str
) -> None:
    async with httpx.AsyncClient(base_url=tricky_gateway, timeout=60) as gateway:
        found = await collect(gateway, body(name))
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


@pytest.mark.parametrize(
    ("name", "ename", "line"), [("early_error", "ZeroDivisionError", 1), ("early_syntax", "SyntaxError", 2)]
)
async def test_an_early_error_stops_the_model(
    tricky_gateway: str, tricky_upstream: str, name: str, ename: str, line: int
) -> None:
    async with httpx.AsyncClient(base_url=tricky_gateway, timeout=60) as gateway:
        found = await collect(gateway, body(name))
    (error,) = of_type(found, "exec.error")
    assert (error["ename"], error["line"]) == (ename, line)
    assert of_type(found, "interrupt")
    async with httpx.AsyncClient(base_url=tricky_upstream, timeout=60) as upstream:
        sent = await cut_short(upstream, name)
    lines = (TRICKY / f"{name}.py").read_text().splitlines(keepends=True)
    tokens_to_error = len("".join(lines[:line])) / 4
    assert sent["tokens_sent"] <= tokens_to_error + 20
