"""Start-up as the server sees it."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI

from app import serving
from app.errors import SandboxStartError


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
