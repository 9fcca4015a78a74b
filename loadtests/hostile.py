"""What clients, models and upstreams do to harm a gateway, one after the other, and how it does meanwhile: the longest
wait for ``/healthz``, its memory, and what the attacker is told."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from rich.console import Console

from loadtests.hostile_upstream import ANSWERS
from loadtests.phases import Phase
from loadtests.processes import Server, gateway, server
from loadtests.report import Report
from loadtests.watcher import Watcher, worst_ms

#: The attacker's, and somebody else's.
HOSTILE_KEY: Final = "sk-hostile"
OTHER_KEYS: Final = ("sk-one", "sk-two", "sk-three")
#: An attack without an end is given up after this.
_LASTS_S: Final = 12.0
_SOCKETS: Final = 256
_UPLOADS: Final = 280
_CODE_TOOL: Final = {"type": "function", "function": {"name": "python", "parameters": {"type": "object"}}}

Attack = Callable[[aiohttp.ClientSession, str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Row:
    """``row``: of the reports from the field that it is after."""

    row: str
    attack: str
    told: str
    healthz_ms: float
    before_mb: float
    most_mb: float
    after_mb: float


def _headers(key: str = HOSTILE_KEY) -> dict[str, str]:
    return {"authorization": f"Bearer {key}", "content-type": "application/json"}


async def _post(http: aiohttp.ClientSession, url: str, body: bytes, path: str = "/v1/chat/completions") -> str:
    """The status, and how the answer ends: read to its end, or as long as an attack may last."""
    read = 0
    last = b""
    try:
        async with asyncio.timeout(_LASTS_S), http.post(url + path, data=body, headers=_headers()) as answer:
            async for piece in answer.content.iter_any():
                read += len(piece)
                last = (last + piece)[-400:]
    except TimeoutError:
        return f"{read >> 10} KiB in {_LASTS_S:g} s, then the client left"
    except aiohttp.ClientError as error:
        return type(error).__name__
    code = next((text for text in ('"code":"', '"code": "') if text.encode() in last), None)
    named = last.decode(errors="replace").rpartition(code)[2].partition('"')[0] if code else ""
    return f"{answer.status}{f' {named}' if named else ''}"


def _asks(model: str, *, stream: bool = True, **fields: Any) -> bytes:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Go."}], **fields}
    return json.dumps(body).encode()


def _model(name: str, *, stream: bool = True, tools: bool = True) -> Attack:
    assert name in ANSWERS
    body = _asks(name, stream=stream, **({"tools": [_CODE_TOOL]} if tools else {}))
    return lambda http, url: _post(http, url, body)


def _body(body: bytes, path: str = "/v1/chat/completions") -> Attack:
    return lambda http, url: _post(http, url, body, path)


async def _chain(http: aiohttp.ClientSession, url: str) -> str:
    """Four answers to much, one behind the other, and a look at one item."""
    before: dict[str, str] = {}
    for _ in range(4):
        items = [{"role": "user", "content": "x" * 100} for _ in range(2000)]
        asked = {"model": "brief", "input": items, **before}
        async with http.post(f"{url}/v1/responses", json=asked, headers=_headers()) as answer:
            document = await answer.json()
        if answer.status != 200:
            return f"{answer.status} {document['error']['code']}"
        before = {"previous_response_id": document["id"]}
    listed = f"{url}/v1/responses/{before['previous_response_id']}/input_items?limit=1"
    async with http.get(listed, headers=_headers()) as answer:
        return f"{answer.status}, {len((await answer.json())['data'])} item"


async def _silence(http: aiohttp.ClientSession, url: str) -> str:
    """Connections that say nothing, and uploads that do not end; somebody else asks meanwhile."""
    async with AsyncExitStack() as opened:
        refused = 0
        for _ in range(_SOCKETS):
            try:
                await opened.enter_async_context(http.ws_connect(f"{url}/v1/eager/stream", headers=_headers()))
            except aiohttp.ClientError:
                refused += 1
        uploads = [asyncio.create_task(_slow_upload(http, url)) for _ in range(_UPLOADS)]
        await asyncio.sleep(1)
        others = [await work(http, url, key) for key in OTHER_KEYS]
        for upload in uploads:
            upload.cancel()
        await asyncio.gather(*uploads, return_exceptions=True)
    return f"{refused} sockets refused; others: {', '.join(others)}"


async def _slow_upload(http: aiohttp.ClientSession, url: str) -> None:
    async def drip() -> Any:
        while True:
            yield b'{"model'
            await asyncio.sleep(1)

    async with http.post(f"{url}/v1/chat/completions", data=drip(), headers=_headers()):
        pass


async def work(http: aiohttp.ClientSession, url: str, key: str) -> str:
    """A request with code, of somebody else. Its status."""
    body = _asks("works", stream=False, tools=[_CODE_TOOL])
    async with http.post(f"{url}/v1/chat/completions", data=body, headers=_headers(key)) as answer:
        await answer.read()
        return str(answer.status)


def _large(what: str) -> bytes:
    message, tool = b'{"role":"user","content":"x"}', json.dumps(_CODE_TOOL).encode()
    asks = b'{"model":"brief","messages":[' + message + b"],"
    match what:
        case "values":
            return asks + b'"x":[' + b"[]," * 9_000_000 + b"0]}"
        case "some values":
            return asks + b'"x":[' + b"[]," * 39_000 + b"0]}"
        case "tools":
            return asks + b'"tools":[' + b",".join([tool] * 20_000) + b"]}"
        case _:
            return b'{"model":"brief","messages":[' + b",".join([message] * 900_000) + b"]}"


def attacks() -> list[tuple[str, str, Attack]]:
    """The row, what is done, and how."""
    chat = "/v1/chat/completions"
    return [
        ("C1", "code whose bytecode grows 4^n", _model("bomb")),
        ("C2", "1.8 MB of `{1}` as arguments", _model("braces")),
        ("C3", "27 MB of `[],[],…`", _body(_large("values"))),
        ("C3", "as many values as are allowed", _body(_large("some values"))),
        ("C3", "20,000 tools", _body(_large("tools"))),
        ("C3", "900,000 messages", _body(_large("messages"), chat)),
        ("C3", "900,000 items", _body(_large("messages").replace(b'"messages"', b'"input"'), "/v1/responses")),
        ("C3", "four chained answers of 2,000 items, one item listed", _chain),
        ("C4", "30,000 pieces of blanks", _model("blanks")),
        ("C4", "text without an end", _model("endless", tools=False)),
        ("C4", "the same beside a code tool", _model("endless")),
        ("C4", "the same, not streamed", _model("endless", stream=False)),
        ("C4", "deltas of nothing, without an end", _model("empty")),
        ("C4", "usage without an end", _model("usage")),
        ("C4", "code that prints without an end", _model("prints")),
        ("C5", f"{_SOCKETS} silent WebSockets and {_UPLOADS} slow uploads", _silence),
    ]


@asynccontextmanager
async def attacked(backend: str) -> AsyncIterator[tuple[Server, aiohttp.ClientSession]]:
    """A gateway with four keys over the hostile upstream, and a client without limits."""
    async with AsyncExitStack() as opened:
        upstream = await opened.enter_async_context(
            server(
                lambda port: [sys.executable, "-m", "loadtests.hostile_upstream", str(port)],
                {},
                ready_path="/v1/models",
            )
        )
        keys = ",".join((HOSTILE_KEY, *OTHER_KEYS))
        running = await opened.enter_async_context(gateway(upstream, backend, EAGER_API_KEYS=keys))
        connector = aiohttp.TCPConnector(limit=0)
        http = await opened.enter_async_context(aiohttp.ClientSession(connector=connector))
        yield running, http


async def measure_hostile(backend: str, console: Console) -> list[Row]:
    rows = []
    async with attacked(backend) as (running, http):
        for row, attack, do in attacks():
            console.print(f"attack: {attack}")
            with Watcher(running) as watch:
                told = await do(http, running.url)
            mb = [size / 2**20 for size in (watch.before, watch.most, watch.after)]
            rows.append(Row(row, attack, told, worst_ms(watch), *mb))
    return rows


async def attack_for_ever(url: str) -> None:
    """All of them at once, again and again."""

    async def again(do: Attack) -> None:
        while True:
            with suppress(aiohttp.ClientError, KeyError):
                await do(http, url)
            await asyncio.sleep(0.1)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http, asyncio.TaskGroup() as tasks:
        for _, _, do in attacks():
            tasks.create_task(again(do))


def hostile_report(backend: str, rows: Sequence[Row], tenants: Sequence[Phase]) -> Report:
    lines = ["| row | attack | told | `/healthz`, longest, ms | MB before | most | after |", "| --- " * 7 + "|"]
    lines += [
        f"| {row.row} | {row.attack} | {row.told} | {row.healthz_ms:.0f} | {row.before_mb:.0f} | {row.most_mb:.0f} | "
        f"{row.after_mb:.0f} |"
        for row in rows
    ]
    body = (
        f"Each attack alone, against a gateway with four keys and {backend} sandboxes; `/healthz` is asked fifty times "
    )
    body += "a second meanwhile.\n\n" + "\n".join(lines) + "\n"
    if tenants:
        body += "\nThree tenants who have code run twice a second, then beside all these attacks at once, again and "
        body += "again:\n\n"
        body += "| tenants | answered | refused | p50 ms | p99 ms |\n| --- | --- | --- | --- | --- |\n"
        body += "".join(
            f"| {phase.name} | {len(phase.seconds)} | {phase.refused} | {phase.quantile_ms(0.5):.0f} | "
            f"{phase.quantile_ms(0.99):.0f} |\n"
            for phase in tenants
        )
    return Report(name="hostile", title="Under attack", body=body, data={"rows": rows, "tenants": tenants})


if __name__ == "__main__":
    asyncio.run(attack_for_ever(sys.argv[1]))
