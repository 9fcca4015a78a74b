from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import respx
from rich.console import Console

from app.demo import run
from app.demo.run import Demo, request_events, run_demo
from tests.demo.events import DONE, FAILURE, SUCCESS

DEMO = Demo(model="demo", prompt="go", tps=50, ttft_ms=0, modes=["eager", "serial"], scale_ms=1000)


class Cut(httpx.AsyncByteStream):
    """A body in pieces of seven bytes."""

    def __init__(self, body: bytes, broken: bool = False) -> None:
        self._body, self._broken = body, broken

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 7):
            yield self._body[start : start + 7]
        if self._broken:
            raise httpx.ReadError("gone")


def sse(events: list[dict[str, Any]]) -> bytes:
    frames = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
    return ": keep-alive\n\n".join(frames).encode() + b"data: [DONE]\n\n"


@pytest.fixture
def completions(respx_mock: respx.MockRouter) -> respx.Route:
    """The endpoint that the demo asks; a test says what it answers."""
    return respx_mock.post("http://gateway/v1/eager/completions")


async def events_of(mode: run.Mode) -> list[Mapping[str, Any]]:
    async with httpx.AsyncClient(base_url="http://gateway") as client:
        return [event async for event in request_events(client, DEMO, mode)]


def ok(events: list[dict[str, Any]], broken: bool = False) -> httpx.Response:
    return httpx.Response(200, stream=Cut(sse(events), broken))


async def test_events_are_read_however_they_are_cut(completions: respx.Route) -> None:
    completions.mock(ok(SUCCESS))
    assert await events_of("serial") == SUCCESS
    assert json.loads(completions.calls.last.request.content) == {
        "model": "demo",
        "messages": [{"role": "user", "content": "go"}],
        "stream": True,
        "eager": {"mode": "serial"},
    }


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(503, text="no sandbox"), "HTTP 503: no sandbox"),
        (ok(SUCCESS[:2], broken=True), "the gateway broke off: ReadError('gone')"),
        (httpx.ConnectError("nobody listens"), "the gateway broke off: ConnectError('nobody listens')"),
    ],
)
async def test_a_refusal_or_a_broken_connection_is_an_error_event(
    completions: respx.Route, answer: httpx.Response | httpx.ConnectError, message: str
) -> None:
    completions.mock(side_effect=[answer])
    assert (await events_of("eager"))[-1] == {"type": "error", "error": {"message": message}}


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, completions: respx.Route) -> respx.Route:
    """What the gateway that ``run_demo`` talks to answers; its servers are not started."""

    @asynccontextmanager
    async def no_servers(*, tps: float, ttft_ms: float, requests: int) -> AsyncIterator[str]:
        yield "http://gateway"

    monkeypatch.setattr(run, "demo_servers", no_servers)
    return completions


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=100, height=30, force_terminal=terminal, _environ={})


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_both_modes_are_run_and_compared_without_a_terminal(gateway: respx.Route) -> None:
    slow = DONE | {"timing": {"e2el_ms": 2200.0}}
    gateway.mock(side_effect=[ok(SUCCESS), ok([*SUCCESS[:-1], slow])])
    out = console(terminal=False)
    assert await run_demo(DEMO, out)
    assert "  1.001 s  stdout   1\n" in said(out)
    assert said(out).rstrip().endswith("Saved 1.10 s, 50.0%.")
    assert "\x1b" not in said(out)


async def test_a_terminal_gets_a_picture_and_a_table(gateway: respx.Route) -> None:
    gateway.mock(side_effect=[ok(SUCCESS), ok(SUCCESS)])
    out = console(terminal=True)
    assert await run_demo(DEMO, out)
    assert "✓" in said(out)
    assert "lower bound of end to end (Eq. 12)" in said(out)


async def test_failing_code_fails_the_demo_and_is_told(gateway: respx.Route) -> None:
    gateway.mock(side_effect=[ok(FAILURE), ok(SUCCESS)])
    out = console(terminal=False)
    assert not await run_demo(DEMO, out)
    assert "eager: ZeroDivisionError: division by zero in line 2" in said(out)


async def test_a_stream_that_ends_early_fails_the_demo(gateway: respx.Route) -> None:
    gateway.mock(side_effect=[ok(SUCCESS[:4]), ok(SUCCESS)])
    out = console(terminal=False)
    assert not await run_demo(DEMO, out)
    assert "eager: the stream ended before its time" in said(out)
