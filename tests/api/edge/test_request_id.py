"""Request ids on answers and in logs."""

from __future__ import annotations

import logging
import re
import string
import sys

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from app.api.edge.request_id import (
    OneLineFormatter,
    RequestIdFilter,
    RequestIdMiddleware,
    client_request_id,
    current_request,
)


def make_app(seen: list[str]) -> FastAPI:
    app = FastAPI()
    app.add_middleware(RequestIdMiddleware)

    @app.get("/id")
    async def get_id(request: Request) -> str:
        seen.append(current_request.get())
        return str(request.state.request_id)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def pieces():  # type: ignore[no-untyped-def]
            yield "a"
            yield "b"

        return StreamingResponse(pieces())

    return app


async def fetch(path: str, headers: dict[str, str] | None = None) -> tuple[httpx.Response, list[str]]:
    seen: list[str] = []
    transport = httpx.ASGITransport(make_app(seen))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.get(path, headers=headers), seen


async def test_each_answer_has_an_id_of_its_own_that_the_route_knows() -> None:
    first, _ = await fetch("/id")
    second, _ = await fetch("/id")
    assert first.headers["x-request-id"] == first.json()
    assert first.json() != second.json()


@pytest.mark.parametrize("path", ["/stream", "/nope"])
async def test_streams_and_errors_have_one_too(path: str) -> None:
    assert (await fetch(path))[0].headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("header", ["X-Request-Id", "X-Client-Request-Id"])
async def test_the_clients_own_id_goes_into_the_log_beside_ours(header: str) -> None:
    response, seen = await fetch("/id", {header: "trace-1"})
    assert seen == [f"{response.headers['x-request-id']} trace-1"]
    assert current_request.get() == "-"


async def test_log_records_carry_the_id() -> None:
    record = logging.makeLogRecord({})
    token = current_request.set("req_1")
    try:
        assert RequestIdFilter().filter(record)
    finally:
        current_request.reset(token)
    assert vars(record)["request"] == "req_1"


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_only_short_printable_ids_are_taken(value: str) -> None:
    taken = client_request_id(Headers(raw=[(b"x-request-id", value.encode("latin-1"))]))
    visible = set(string.printable) - set(string.whitespace)
    assert taken == (value if 1 <= len(value) <= 128 and set(value) <= visible else None)


@pytest.mark.parametrize(
    ("type", "answer"), [("websocket", "websocket.accept"), ("http", "http.response.start"), ("lifespan", None)]
)
async def test_websockets_are_answered_with_an_id_too_and_lifespan_is_left_alone(type: str, answer: str | None) -> None:
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": answer or "lifespan.startup.complete"})

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await RequestIdMiddleware(app)({"type": type, "path": "/", "headers": []}, receive, send)
    assert [name for name, _ in sent[0].get("headers", [])] == ([b"x-request-id"] if answer else [])


async def test_a_line_of_the_log_tells_how_a_request_ended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with caplog.filtering(RequestIdFilter()):
        answer, _ = await fetch("/no%0Ape?key=secret", {"x-request-id": "mine"})
        await fetch("/healthz")
    [record] = [record for record in caplog.records if record.name == "app.api.edge.request_id"]
    assert re.fullmatch(r"GET /no%0Ape: 404, \d+\.\d{3} s", record.getMessage())
    assert record.__dict__["request"] == f"{answer.headers['x-request-id']} mine"


def test_nothing_that_is_quoted_forges_a_line_of_the_log() -> None:
    record = logging.LogRecord(
        "eager", logging.WARNING, "", 0, "failed: %s", ("x\n2026 INFO all is well\x1b[2J",), None
    )
    try:
        raise ValueError("x\n2026 INFO all is well")
    except ValueError:
        record.exc_info = sys.exc_info()
    first, *rest = OneLineFormatter("%(levelname)s: %(message)s").format(record).split("\n")
    assert first == r"WARNING: failed: x\n2026 INFO all is well\x1b[2J"
    assert all(line.startswith("  ") for line in rest)
