"""Endpoints that the upstream answers: from the client's bytes to the upstream's, and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.upstream.allowance import AnswerLimits
from app.upstream.client import Upstream
from tests.api.served import Served, served
from tests.upstream.server import Exchange, Server, serving

VECTORS = {"object": "list", "data": [{"embedding": [0.5], "index": 0, "object": "embedding"}], "vendor": 1}


def answer(body: bytes, *, type: str = "application/json", status: int = 200) -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {type}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def over(folder: Path, told: bytes, **settings: Any) -> AsyncIterator[tuple[Served, Server]]:
    """A gateway over an upstream that answers everything with these bytes."""

    async def reply(exchange: Exchange) -> None:
        await exchange.send(told)

    limits = AnswerLimits(bytes=100_000)
    async with (
        serving(reply) as server,
        Upstream(server.url, "upstream-key", limits=limits) as upstream,
        served(folder, **settings) as gateway,
    ):
        gateway.ask(upstream)
        yield gateway, server


async def post(gateway: Served, path: str, key: str = "ka", **sent: Any) -> httpx.Response:
    async with gateway.http(key) as http:
        return await http.post(path, **sent)


def asked(server: Server) -> tuple[str, dict[str, Any]]:
    [exchange] = server.exchanges
    return exchange.head.split(b" ")[1].decode(), json.loads(exchange.body)


@pytest.mark.parametrize("path", ["completions", "embeddings", "moderations", "images/generations", "audio/speech"])
async def test_a_request_and_its_answer_are_passed_on_as_they_are(tmp_path: Path, path: str) -> None:
    body = {"model": "m", "input": "é", "made_up": {"x": [1]}}
    told = json.dumps(VECTORS).encode()
    async with over(tmp_path, answer(told)) as (gateway, server):
        response = await post(gateway, f"/v1/{path}", json={**body, "eager": {}})
    assert response.content == told
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    where, sent = asked(server)
    assert where.endswith(f"/{path}")
    assert sent == body
    assert b"authorization: Bearer upstream-key" in server.exchanges[0].head.replace(b"Authorization", b"authorization")


async def test_the_sdk_gets_vectors(tmp_path: Path) -> None:
    async with over(tmp_path, answer(json.dumps({**VECTORS, "model": "m", "usage": None}).encode())) as (gateway, _):
        made = await gateway.sdk().embeddings.create(model="m", input="x", encoding_format="float")
    assert made.data[0].embedding == [0.5]


async def test_a_stream_is_passed_on_byte_for_byte(tmp_path: Path) -> None:
    events = b'data: {"choices":[{"text":"a","index":0}]}\n\ndata: [DONE]\n\n'
    async with over(tmp_path, answer(events, type="text/event-stream")) as (gateway, _):
        response = await post(gateway, "/v1/completions", json={"model": "m", "prompt": "x", "stream": True})
    assert response.content == events
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("type", "told"), [("audio/mpeg", "audio/mpeg"), ("text/html", "application/octet-stream")], ids=["audio", "a page"]
)
async def test_bytes_are_bytes_and_pages_are_none(tmp_path: Path, type: str, told: str) -> None:
    async with over(tmp_path, answer(b"\xff\x00<script>", type=type)) as (gateway, _):
        response = await post(gateway, "/v1/audio/speech", json={"model": "m", "input": "x", "voice": "v"})
    assert response.content == b"\xff\x00<script>"
    assert response.headers["content-type"] == told


async def test_a_form_is_written_anew_with_all_its_files(tmp_path: Path) -> None:
    async with over(tmp_path, answer(b'{"text": "hello"}')) as (gateway, server):
        response = await post(
            gateway,
            "/v1/audio/transcriptions",
            data={"model": "m:eager", "language": "en", "timestamp_granularities[]": ["word", "segment"]},
            files=[("file", ("a.wav", b"RIFF\r\n--x\x00" * 300_000, "audio/wav")), ("file", ("b", b"b"))],
        )
    assert response.json() == {"text": "hello"}
    [exchange] = server.exchanges
    again = await httpx_form(exchange)
    assert [(name, value) for name, value in again if isinstance(value, str)] == [
        ("model", "m"),
        ("language", "en"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
    ]
    assert [value for name, value in again if not isinstance(value, str)] == [
        ("a.wav", "audio/wav", b"RIFF\r\n--x\x00" * 300_000),
        ("b", "application/octet-stream", b"b"),
    ]


async def httpx_form(exchange: Exchange) -> list[tuple[str, Any]]:
    from starlette.requests import Request

    lines = exchange.head.decode().split("\r\n")[1:]
    headers = [(name.lower().encode(), value.encode()) for name, _, value in (line.partition(": ") for line in lines)]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": exchange.body}

    async with Request({"type": "http", "headers": headers}, receive).form() as form:
        return [
            (name, value if isinstance(value, str) else (value.filename, value.content_type, await value.read()))
            for name, value in form.multi_items()
        ]


@pytest.mark.parametrize(
    ("path", "sent", "status", "param"),
    [
        ("embeddings", {"json": {"model": "forbidden", "input": "x"}}, 403, "model"),
        ("embeddings", {"json": {"model": "m", "fallbacks": ["forbidden"]}}, 403, "fallbacks"),
        ("moderations", {"json": {"input": "x"}}, 400, "model"),
        ("embeddings", {"content": b'{"model": "m", "model": "forbidden"}'}, 403, "model"),
        ("audio/transcriptions", {"data": {"model": "forbidden"}, "files": {"file": b"x"}}, 403, "model"),
        ("audio/transcriptions", {"data": {"model": ["m", "forbidden"]}, "files": {"file": b"x"}}, 403, "model"),
        ("audio/transcriptions", {"data": {"model": ["forbidden", "m"]}, "files": {"file": b"x"}}, 403, "model"),
        ("audio/transcriptions", {"files": {"file": b"x"}}, 400, "model"),
        ("images/edits", {"json": {"model": "forbidden"}}, 403, "model"),
    ],
    ids=str,
)
async def test_the_models_of_a_key_hold(
    tmp_path: Path, path: str, sent: dict[str, Any], status: int, param: str
) -> None:
    async with over(tmp_path, answer(b"{}")) as (gateway, server):
        response = await post(gateway, f"/v1/{path}", key="kb", **sent)
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)
    assert server.exchanges == []


@pytest.mark.parametrize(
    "sent",
    [
        {"content": b"{"},
        {"content": b"[]"},
        {"content": b'{"model": 1}'},
        {"content": b'{"x": NaN}'},
        {"content": b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}"},
        {"content": b'{"x": [' + b"[]," * 200_000 + b"1]}"},
        {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=a"}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
    ],
    ids=lambda sent: repr(sent["content"][:20]),
)
@pytest.mark.parametrize("path", ["embeddings", "audio/transcriptions"])
async def test_what_is_not_well_formed_is_a_400(tmp_path: Path, path: str, sent: dict[str, Any]) -> None:
    async with over(tmp_path, answer(b"{}")) as (gateway, server):
        response = await post(gateway, f"/v1/{path}", **sent)
    assert response.status_code == 400, response.text
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert server.exchanges == []


async def test_an_upstreams_error_is_told_in_its_words(tmp_path: Path) -> None:
    async with over(tmp_path, answer(b'{"error": {"message": "no such voice"}}', status=422)) as (gateway, _):
        response = await post(gateway, "/v1/audio/speech", json={"model": "m"})
    assert (response.status_code, response.json()["error"]["message"]) == (400, "no such voice")


async def test_an_answer_has_a_limit_and_is_cut_off_there(tmp_path: Path) -> None:
    async with over(tmp_path, answer(b"x" * 300_000, type="audio/mpeg")) as (gateway, _):
        response = await post(gateway, "/v1/audio/speech", json={"model": "m"})
    assert len(response.content) <= 100_000


async def test_a_deployment_says_what_is_passed_on(tmp_path: Path) -> None:
    async with over(tmp_path, answer(b"{}"), pass_on=("embeddings",)) as (gateway, server):
        refused = await post(gateway, "/v1/images/generations", json={"model": "m"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "unknown_url")
        assert (await post(gateway, "/v1/embeddings", json={"model": "m"})).status_code == 200
    assert len(server.exchanges) == 1


async def test_a_client_that_leaves_ends_the_upstreams_work(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def never(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 9\r\n\r\nx")
        await exchange.wait_closed_by_client()
        left.set()

    async with serving(never) as server, Upstream(server.url) as upstream, served(tmp_path) as gateway:
        gateway.ask(upstream)
        begun = asyncio.Event()
        messages = [{"type": "http.request", "body": b'{"model": "m"}'}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await begun.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                begun.set()

        headers = [(b"authorization", b"Bearer ka"), (b"content-type", b"application/json")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/audio/speech",
            "raw_path": b"/v1/audio/speech",
            "query_string": b"",
            "headers": headers,
            "http_version": "1.1",
            "scheme": "http",
            "server": ("gateway", 80),
            "client": ("127.0.0.1", 1),
            "root_path": "",
        }
        await gateway.app(scope, receive, send)
        async with asyncio.timeout(30):
            await left.wait()
