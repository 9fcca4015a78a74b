"""Large and slow request bodies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.types import Message, Receive, Scope, Send

from app.api.edge.body_limit import BodyLimitMiddleware
from app.api.edge.errors import install
from app.api.edge.request_id import RequestIdMiddleware
from app.json_size import MAX_VALUES


def make_app(*, timeout_s: float = 1000.0, max_bytes: int = 100) -> FastAPI:
    app = FastAPI()
    install(app)
    app.add_middleware(BodyLimitMiddleware, max_bytes=max_bytes, max_upload_bytes=1000, timeout_s=timeout_s)
    app.add_middleware(RequestIdMiddleware)

    @app.post("/v1/json")
    async def json_body(body: dict[str, Any]) -> int:
        return len(body)

    @app.post("/v1/raw")
    @app.post("/v1/files")
    async def raw_body(request: Request) -> int:
        return sum([len(data) async for data in request.stream()])

    @app.post("/v1/unread")
    async def unread() -> str:
        return "ok"

    return app


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 10


async def post(path: str, **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app()), base_url="http://gateway") as client:
        return await client.post(path, **body)


async def test_bodies_up_to_the_limit_pass_declared_or_not() -> None:
    assert (await post("/v1/raw", content=b"x" * 100)).json() == 100
    assert (await post("/v1/raw", content=pieces(10))).json() == 100
    assert (await post("/v1/files", content=pieces(100))).json() == 1000


@pytest.mark.parametrize("path", ["/v1/raw", "/v1/json", "/v1/unread"])
async def test_a_declared_size_over_the_limit_is_refused_before_reading(path: str) -> None:
    _assert_refused(await post(path, content=b"x" * 101))


@pytest.mark.parametrize("path", ["/v1/raw", "/v1/json"])
async def test_an_undeclared_one_is_counted(path: str) -> None:
    _assert_refused(await post(path, content=pieces(11), headers={"content-type": "application/json"}))


async def test_uploads_have_a_limit_of_their_own() -> None:
    _assert_refused(await post("/v1/files", content=pieces(101)))


def _assert_refused(response: httpx.Response) -> None:
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"
    assert response.headers["x-request-id"]


async def call(app: FastAPI, path: str, incoming: list[Message]) -> list[Message]:
    """The answer to a request whose client sends these messages and then nothing."""
    sent: list[Message] = []
    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b"", "http_version": "1.1"}

    async def receive() -> Message:
        if incoming:
            return incoming.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(20):
        await app(scope, receive, send)
    return sent


@pytest.mark.parametrize("path", ["/v1/raw", "/v1/json"])
async def test_a_body_that_does_not_arrive_is_a_408_and_the_end_of_the_connection(path: str) -> None:
    start, body = await call(make_app(timeout_s=0.0), path, [{"type": "http.request", "body": b"{", "more_body": True}])
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    assert b'"code": "request_timeout"' in body["body"]
    assert b'"type": "timeout"' in body["body"]


async def test_after_the_body_a_quiet_client_is_not_a_slow_one() -> None:
    app = make_app(timeout_s=0.01)

    @app.post("/v1/watch")
    async def watch(request: Request) -> str:
        await request.body()
        try:
            async with asyncio.timeout(0.05):
                await request.receive()
        except TimeoutError:
            return "still there"
        return "left"

    sent = await call(app, "/v1/watch", [{"type": "http.request", "body": b"{}", "more_body": False}])
    assert sent[1]["body"] == b'"still there"'


async def test_what_is_no_request_is_left_alone() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def unused(*_: Any) -> Any:
        raise AssertionError

    middleware = BodyLimitMiddleware(app, max_bytes=0, max_upload_bytes=0, timeout_s=0.0)
    await middleware({"type": "lifespan"}, unused, unused)
    assert seen == [{"type": "lifespan"}]


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_of_too_many_values_is_refused_before_it_is_decoded(declared: bool) -> None:
    body = b'{"x":[' + b"[]," * MAX_VALUES + b"0]}"

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    app = make_app(max_bytes=10_000_000)
    headers = {"content-type": "application/json"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
        answer = await client.post("/v1/json", content=body if declared else in_pieces())
        text = b'{"x":"' + b"[]," * MAX_VALUES + b'"}'
        assert (await client.post("/v1/json", content=text)).json() == 1
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert f"{MAX_VALUES} values" in answer.json()["error"]["message"]
