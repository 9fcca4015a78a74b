"""Web pages of other origins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.edge.origins import Origins, is_loopback
from app.errors import RequestError
from tests.api.served import served

PAGE = "https://app.example"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def may_call(origins: Origins, origin: str | None, host: str = "localhost:8000") -> bool:
    headers = {"host": host} if origin is None else {"host": host, "origin": origin}
    try:
        origins.require_allowed(headers)
    except RequestError as error:
        return error.status != 403
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gateway.example", "localhost.example", ""])
def test_nothing_else_is_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("open", [True, False])
def test_programs_and_the_gateways_own_pages_may_call(open: bool) -> None:
    assert may_call(Origins((), open=open), None)
    assert may_call(Origins((), open=open), "http://localhost:8000")


@pytest.mark.parametrize("origin", [PAGE, "null", "http://localhost:3000", "http://[", "http://localhost:8000.evil"])
def test_other_pages_may_not_unless_they_are_listed(origin: str) -> None:
    for open in (True, False):
        assert not may_call(Origins((), open=open), origin)
        assert may_call(Origins((origin,), open=open), origin)
        assert may_call(Origins(("*",), open=open), origin)


def test_a_foreign_name_bound_to_this_machine_is_not_its_own() -> None:
    assert not may_call(Origins((), open=True), "http://evil.example:8000", "evil.example:8000")
    assert may_call(Origins((), open=False), "http://gateway.example", "gateway.example")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "10.0.0.1", "[::2]:8000", "localhost.evil:80"])
def test_an_open_gateway_answers_to_names_of_loopback_alone(host: str) -> None:
    assert not may_call(Origins((), open=True), None, host)
    assert not may_call(Origins(("*",), open=True), None, host)
    assert may_call(Origins((), open=False), None, host)


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1:80", "[::1]:8000"])
def test_names_of_loopback_are_answered(host: str) -> None:
    assert may_call(Origins((), open=True), None, host)


@asynccontextmanager
async def gateway(folder: Path, origin: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with served(folder, **settings) as running, running.http() as client:
        client.headers["origin"] = origin
        yield client


async def test_an_open_gateway_refuses_foreign_pages_before_they_cost_anything(tmp_path: Path) -> None:
    async with gateway(tmp_path, PAGE, api_keys=()) as client:
        answer = await client.post("/v1/chat/completions", json=BODY)
        assert answer.status_code == 403
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
        assert "access-control-allow-origin" not in answer.headers


async def test_a_name_that_was_bound_to_this_machine_reads_nothing(tmp_path: Path) -> None:
    async with served(tmp_path, api_keys=()) as running, running.http() as client:
        for path in ("/v1/sessions", "/v1/files", "/v1/containers", "/metrics", "/healthz"):
            assert (await client.get(path)).status_code == 403
            assert (await client.get(path, headers={"host": "localhost:8000"})).status_code == 200


async def test_with_keys_the_key_decides(tmp_path: Path) -> None:
    async with gateway(tmp_path, PAGE) as client:
        assert (await client.get("/v1/sessions")).status_code == 200
        assert (await client.get("/v1/sessions", headers={"authorization": ""})).status_code == 401


async def test_a_listed_page_is_told_that_it_may_call_and_read(tmp_path: Path) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-stainless-os"}
    async with gateway(tmp_path, PAGE, cors_origins=(PAGE,)) as client:
        preflight = await client.options("/v1/chat/completions", headers={**asked, "authorization": ""})
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == PAGE
        assert "x-stainless-os" in preflight.headers["access-control-allow-headers"]
        for path, status in (("/v1/sessions", 200), ("/v1/sessions/none", 404)):
            answer = await client.get(path)
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "x-request-id" in answer.headers["access-control-expose-headers"]


async def test_other_pages_are_told_nothing(tmp_path: Path) -> None:
    async with gateway(tmp_path, "https://evil.example", cors_origins=(PAGE,)) as client:
        answer = await client.get("/v1/sessions")
        assert "access-control-allow-origin" not in answer.headers
