"""One prompt through a gateway, told or drawn while it runs, in one mode or in two for comparison."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import httpx
import msgspec
from rich.console import Console
from rich.live import Live

from app.demo.plain import lines_of
from app.demo.servers import demo_servers
from app.demo.timeline import Timeline
from app.demo.view import render, saving, summary

Mode = Literal["eager", "serial"]

_FRAMES_PER_S: Final = 12
#: Longest silence of the gateway; it sends a keep-alive every 15 s.
_READ_TIMEOUT_S: Final = 60.0
_MAX_HEIGHT: Final = 36
#: Code and output side by side need this much.
_MIN_WIDTH: Final = 60


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What to show. ``scale_ms`` is the length of the bars, if nothing takes longer."""

    model: str
    prompt: str
    tps: float
    ttft_ms: float
    modes: Sequence[Mode]
    scale_ms: float


async def run_demo(demo: Demo, console: Console) -> bool:
    """Runs the prompt once in each mode. True if nothing failed.

    Raises:
        ServerFailed: the demo's servers could not be started.
    """
    console.print("Starting a replay upstream, a gateway and its sandboxes ...", style="dim")
    runs: list[tuple[Mode, Timeline]] = []
    async with (
        demo_servers(tps=demo.tps, ttft_ms=demo.ttft_ms, requests=len(demo.modes)) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        for mode in demo.modes:
            console.print(f"\n[bold]{mode}[/]: the model writes at {demo.tps:g} tokens/s", highlight=False)
            events = request_events(client, demo, mode)
            live = console.is_terminal and console.width >= _MIN_WIDTH
            timeline = await (_draw(events, console, mode, demo.scale_ms) if live else _print_events(events, console))
            runs.append((mode, timeline))
    if all(timeline.finished for _, timeline in runs):
        console.print()
        console.print(summary(runs) if console.is_terminal else saving(runs), highlight=False)
    for mode, timeline in runs:
        for problem in timeline.problems or ([] if timeline.finished else ["the stream ended before its time"]):
            console.print(f"{mode}: {problem}", style="bold red", markup=False, highlight=False)
    return not any(timeline.failed for _, timeline in runs)


async def request_events(client: httpx.AsyncClient, demo: Demo, mode: Mode) -> AsyncIterator[Mapping[str, Any]]:
    """The events of one request. A refusal or a broken connection becomes an ``error`` event."""
    body = {
        "model": demo.model,
        "messages": [{"role": "user", "content": demo.prompt}],
        "stream": True,
        "eager": {"mode": mode},
    }
    try:
        async with client.stream("POST", "/v1/eager/completions", json=body, timeout=_READ_TIMEOUT_S) as answer:
            if answer.status_code != 200:
                text = (await answer.aread()).decode(errors="replace")
                yield {"type": "error", "error": {"message": f"HTTP {answer.status_code}: {text[:1000]}"}}
                return
            async for event in _events_of(answer.aiter_bytes()):
                yield event
    except httpx.TransportError as error:
        yield {"type": "error", "error": {"message": f"the gateway broke off: {error!r}"}}


async def _events_of(stream: AsyncIterator[bytes]) -> AsyncIterator[Mapping[str, Any]]:
    """Our own gateway's frames: one ``data:`` line of JSON each, the last ``[DONE]``."""
    rest = b""
    async for data in stream:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                yield msgspec.json.decode(line.removeprefix(b"data: "), type=dict[str, Any])


async def _print_events(events: AsyncIterator[Mapping[str, Any]], console: Console) -> Timeline:
    timeline = Timeline()
    async for event in events:
        timeline.apply(event)
        for line in lines_of(timeline, event):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    return timeline


async def _draw(events: AsyncIterator[Mapping[str, Any]], console: Console, mode: Mode, scale_ms: float) -> Timeline:
    timeline = Timeline()
    clock = asyncio.get_running_loop().time
    started = clock()

    def draw(now_ms: float) -> None:
        height = min(console.height - 2, _MAX_HEIGHT)
        picture = render(timeline, title=mode, now_ms=now_ms, scale_ms=scale_ms, width=console.width, height=height)
        live.update(picture, refresh=True)

    with Live(console=console, auto_refresh=False) as live:
        async with asyncio.TaskGroup() as group:
            ticker = group.create_task(_tick(lambda: draw((clock() - started) * 1000)))
            async for event in events:
                timeline.apply(event)
            ticker.cancel()
        draw(timeline.elapsed_ms)
    return timeline


async def _tick(draw: Callable[[], None]) -> None:
    while True:
        draw()
        await asyncio.sleep(1 / _FRAMES_PER_S)
