"""Start-up and the end, as the server sees them."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from app import serving
from app.api.edge import open_requests
from app.api.edge.auth import ANYONE
from app.api.edge.request_head import RequestHeadProtocol
from app.errors import SandboxStartError
from tests.api.served import Served, served


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """The collector of the tests' process is left as it was."""
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


async def lifespan_of(error: BaseException | None) -> list[dict[str, Any]]:
    """What the server is told by an app that starts, or whose start fails with ``error``."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if error is not None:
            raise error
        yield

    asked = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    told: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return asked.pop(0)

    async def send(message: Any) -> None:
        told.append(message)

    app = serving.with_start_up(FastAPI(lifespan=lifespan))
    with suppress(ZeroDivisionError):
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    return told


async def test_a_start_up_that_fails_by_our_error_is_told_in_a_sentence() -> None:
    told = await lifespan_of(SandboxStartError("no bubblewrap here"))
    assert told == [{"type": "lifespan.startup.failed", "message": "no bubblewrap here"}]


async def test_a_start_up_that_fails_by_a_bug_is_told_with_its_traceback() -> None:
    [message] = await lifespan_of(ZeroDivisionError("oh"))
    assert message["type"] == "lifespan.startup.failed"
    assert message["message"].startswith("Traceback")


async def test_a_start_up_that_succeeds_is_passed_on() -> None:
    assert [message["type"] for message in await lifespan_of(None)] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


async def test_what_was_made_at_the_start_is_not_looked_through_for_garbage_again() -> None:
    await lifespan_of(None)
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] == serving.GC_THRESHOLD


async def test_a_warm_up_asks_the_application_for_what_it_does_not_have() -> None:
    asked: list[str] = []
    app = FastAPI()
    router = APIRouter()

    @router.get("/{rest:path}")
    async def anything(rest: str) -> None:
        asked.append(rest)

    app.include_router(router)
    await serving.warm_up(app)
    assert asked == ["warm-up"]


@asynccontextmanager
async def on_a_server(
    gateway: Served, *, grace_s: float = 0
) -> AsyncIterator[tuple[serving.Server, httpx.AsyncClient]]:
    """A real one, which ends requests as soon as it is told to stop, or so much later."""
    config = uvicorn.Config(
        gateway.app,
        port=0,
        ws=serving.WebSocketProtocol,
        log_level="error",
        lifespan="off",
        timeout_graceful_shutdown=20,
    )
    server = serving.Server(config, gateway.services.open_requests.end, grace_s=grace_s)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, headers={"authorization": "Bearer ka"}) as http:
            yield server, http


@pytest.mark.parametrize(
    ("path", "ends_with"),
    [
        ("/v1/eager/completions", "data: [DONE]\n\n"),
        ("/v1/chat/completions", "data: [DONE]\n\n"),
        ("/v1/responses", "response.failed"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_requests_whose_code_runs_on_when_the_server_stops_end_with_an_error(
    tmp_path: Path, path: str, ends_with: str, stream: bool
) -> None:
    code_tool = {"type": "code_interpreter", "container": {"type": "auto"}}
    asked = {"input": "Go."} if path == "/v1/responses" else {"messages": [{"role": "user", "content": "Go."}]}
    async with served(tmp_path) as gateway:
        gateway.backend.prepare = lambda worker: setattr(worker, "hold", "slow")
        for worker in gateway.backend.workers:
            worker.hold = "slow"
        async with asyncio.timeout(20), on_a_server(gateway) as (server, http):
            body = {"model": "m", "stream": stream, "tools": [code_tool], **asked}
            asking = asyncio.create_task(http.post(path, json=body))
            gateway.upstream.delta({"content": "Let me see."})
            gateway.upstream.code("slow()\n")
            await gateway.backend.wait_running()
            server.should_exit = True
            answer = await asking
    assert "overloaded" in answer.text or "shutting down" in answer.text
    assert answer.headers["x-request-id"]
    if stream:
        assert answer.status_code == 200
        assert ends_with in answer.text
        stamps = [int(seq) for seq in re.findall(r'"seq":(-?\d+)', answer.text)]
        assert stamps == list(range(len(stamps)))
    else:
        assert answer.status_code == 503
        assert answer.headers["x-should-retry"] == "false"


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of these requests ends by itself."""
    monkeypatch.setattr(open_requests, "END_S", 0)


@pytest.mark.usefixtures("no_delay")
@pytest.mark.parametrize("path", ["/v1/files", "/v1/chat/completions"])
async def test_a_request_that_is_still_being_sent_when_the_server_stops_ends_with_an_error(
    tmp_path: Path, path: str
) -> None:
    async with asyncio.timeout(20), served(tmp_path) as gateway, on_a_server(gateway) as (server, http):
        reader, writer = await asyncio.open_connection("127.0.0.1", http.base_url.port)
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ka\r\ncontent-length: 9\r\n"
        writer.write(f"{head}content-type: multipart/form-data; boundary=x\r\n\r\n--x".encode())
        while not server.server_state.tasks:
            await asyncio.sleep(0)
        server.should_exit = True
        head, body = (await reader.read()).decode().split("\r\n\r\n")
        writer.close()
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    told_to_come_back(httpx.Response(int(head.split(" ")[1]), headers=headers, text=body))


@pytest.mark.usefixtures("no_delay")
@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/containers"])
async def test_a_request_that_waits_when_the_server_stops_ends_with_an_error(tmp_path: Path, path: str) -> None:
    async with asyncio.timeout(20), served(tmp_path, sandbox_limit=1) as gateway:
        pool = gateway.services.gateway.pool
        async with pool.checkout(20), on_a_server(gateway) as (server, http):
            asking = asyncio.create_task(http.post(path, json={"name": "c"}))
            while not pool.statistics().waiting:
                await asyncio.sleep(0)
            server.should_exit = True
            answer = await asking
    told_to_come_back(answer)


@pytest.mark.usefixtures("no_delay")
async def test_a_request_that_stands_in_line_when_the_server_stops_ends_with_an_error(tmp_path: Path) -> None:
    async with asyncio.timeout(20), served(tmp_path, request_limit=1) as gateway:
        admission = gateway.services.admission
        async with admission.admit(ANYONE), on_a_server(gateway) as (server, http):
            asking = asyncio.create_task(http.get("/v1/sessions"))
            while not admission.statistics().waiting:
                await asyncio.sleep(0)
            server.should_exit = True
            answer = await asking
    told_to_come_back(answer)


@pytest.mark.parametrize("grace_s", [0, 60])
async def test_a_pushed_stream_goes_on_when_the_server_stops_and_ends_with_an_error_if_it_must(
    tmp_path: Path, grace_s: float
) -> None:
    headers = {"authorization": "Bearer ka"}
    async with (
        asyncio.timeout(20),
        served(tmp_path) as gateway,
        on_a_server(gateway, grace_s=grace_s) as (server, http),
    ):
        url = f"ws://127.0.0.1:{http.base_url.port}/v1/eager/stream"
        async with connect(url, additional_headers=headers) as socket:
            await socket.send('{"eager": {"mode": "serial"}}')
            assert json.loads(await socket.recv())["type"] == "start"
            server.should_exit = True
            while server.servers[0].is_serving():
                await asyncio.sleep(0)
            if grace_s:
                await socket.send('{"code": "x = 1\\n"}')
                await socket.send('{"end": true}')
            events = []
            with suppress(ConnectionClosedError):
                async for message in socket:
                    events.append(json.loads(message))
    last = "done" if grace_s else "error"
    assert events[-1]["type"] == last
    assert socket.close_code == (1000 if grace_s else 1012)
    if not grace_s:
        assert events[-1]["error"]["code"] == "overloaded"


def told_to_come_back(answer: httpx.Response) -> None:
    """Nothing has run: another try, after a moment, may find a server that serves."""
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-request-id"]
    assert "x-should-retry" not in answer.headers


async def test_a_gateway_without_an_address_does_not_start_its_application(caplog: pytest.LogCaptureFixture) -> None:
    started: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        started.append("started")
        yield

    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = uvicorn.Config(FastAPI(lifespan=lifespan), port=taken.getsockname()[1], log_level="error")
        with pytest.raises(SystemExit):
            await serving.Server(config, lambda: None).serve()
    assert started == []
    assert "address already in use" in caplog.text


async def test_a_terminal_that_is_closed_stops_the_server_in_order() -> None:
    command = [sys.executable, "-m", "app.cli", "upstream", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(60):
        while "running on" not in said:
            said = (await process.stderr.readline()).decode()
            assert said
        process.send_signal(signal.SIGHUP)
        rest = await process.stderr.read()
        await process.wait()
    assert b"Application shutdown complete" in rest


@pytest.fixture
def _hang_up() -> Iterator[None]:
    """What a closed terminal does to the tests' process is left as it was."""
    handler = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, handler)


@pytest.mark.usefixtures("_hang_up")
def test_heads_of_requests_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    configs: list[uvicorn.Config] = []

    def run(server: uvicorn.Server, sockets: object = None) -> None:
        configs.append(server.config)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    assert not serving.run_server(FastAPI(), "127.0.0.1", 0, None)
    assert [config.http for config in configs] == [RequestHeadProtocol]
