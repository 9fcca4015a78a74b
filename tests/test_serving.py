"""Start-up and the end, as the server sees them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI

from app import serving
from app.errors import SandboxStartError
from tests.api.served import served


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
        config = uvicorn.Config(gateway.app, port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=20)
        server = serving.Server(config, gateway.app.state.open_requests.end, grace_s=0)
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", headers={"authorization": "Bearer ka"}
            ) as http:
                body = {"model": "m", "stream": stream, "tools": [code_tool], **asked}
                asking = tasks.create_task(http.post(path, json=body))
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
    else:
        assert answer.status_code == 503
        assert answer.headers["x-should-retry"] == "false"
