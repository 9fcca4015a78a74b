"""``/mcp`` over fakes: who may ask, and what is refused."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest

from app.errors import SandboxStartError
from tests.api.served import Served, served

HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as gateway:
        yield gateway


async def ask(gateway: Served, method: str, params: dict[str, Any], key: str = "ka") -> httpx.Response:
    async with gateway.http(key) as http:
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return await http.post("/mcp", json=asked, headers=HEADERS)


async def call(gateway: Served, name: str, arguments: Any, key: str = "ka") -> dict[str, Any]:
    """The result of a tool."""
    answer = await ask(gateway, "tools/call", {"name": name, "arguments": arguments}, key)
    assert answer.status_code == 200, answer.text
    data = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    result: dict[str, Any] = httpx.Response(200, text=data[-1]).json()["result"]
    return result


async def test_strangers_are_refused(gateway: Served) -> None:
    answer = await ask(gateway, "tools/list", {}, key="wrong")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_nothing_is_kept_that_could_be_listened_to_or_ended(gateway: Served, method: str) -> None:
    async with gateway.http() as http:
        assert (await http.request(method, "/mcp", headers=HEADERS)).status_code == 405


async def test_a_gateway_without_the_package_says_so(gateway: Served) -> None:
    with patch.object(importlib.util, "find_spec", lambda name: None):
        answer = await ask(gateway, "tools/list", {})
    assert answer.status_code == 404
    assert "eager[mcp]" in answer.json()["error"]["message"]


async def test_what_is_no_json_is_refused(gateway: Served) -> None:
    async with gateway.http() as http:
        answer = await http.post("/mcp", content=b"{", headers=HEADERS)
    assert answer.status_code == 400


async def test_code_runs_and_its_output_is_told(gateway: Served) -> None:
    result = await call(gateway, "run_code", {"code": "print('hello')\n"})
    session = result["structuredContent"]["session"]
    assert result["structuredContent"]["status"] == "ok"
    assert result["content"][0]["text"].endswith(f"[session {session}]")
    assert gateway.registry.is_alive(session, owner="a")


async def test_a_session_is_its_owners_alone(gateway: Served) -> None:
    session = (await call(gateway, "create_session", {}))["structuredContent"]["session"]
    for name, arguments in (
        ("run_code", {"code": "1", "session": session}),
        ("list_files", {"session": session}),
        ("read_file", {"session": session, "path": "a"}),
        ("write_file", {"session": session, "path": "a", "content": ""}),
        ("delete_file", {"session": session, "path": "a"}),
        ("delete_session", {"session": session}),
    ):
        refused = await call(gateway, name, arguments, key="kb")
        assert refused["isError"], name
        assert "no session" in refused["content"][0]["text"]
    assert (await call(gateway, "list_sessions", {}, key="kb"))["structuredContent"] == {"sessions": []}
    assert gateway.registry.is_alive(session, owner="a")


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("made_up", {}, "no tool"),
        ("run_code", {}, "code"),
        ("run_code", {"code": 1}, "code"),
        ("run_code", {"code": "1", "made_up": 1}, "made_up"),
        ("run_code", {"code": "1", "timeout_s": 0}, "timeout_s"),
        ("run_code", {"code": "1", "language": "ruby"}, "language"),
        ("read_file", {"session": "s"}, "path"),
        ("write_file", {"session": "s", "path": "a", "content": "!", "encoding": "base64"}, "base64"),
    ],
)
async def test_a_call_that_is_not_well_formed_is_told_to_the_model(
    gateway: Served, name: str, arguments: dict[str, Any], told: str
) -> None:
    result = await call(gateway, name, arguments)
    assert result["isError"]
    assert told in result["content"][0]["text"]


async def test_a_key_s_requests_are_counted(tmp_path: Path) -> None:
    keys = ('{"key": "ka", "name": "a", "requests_per_minute": 1}',)
    async with served(tmp_path, api_keys=keys) as gateway:
        assert (await ask(gateway, "tools/list", {})).status_code == 200
        assert (await ask(gateway, "tools/list", {})).status_code == 429


@pytest.mark.parametrize(
    "failure", [SandboxStartError("the engine at tcp://10.1.2.3:2375 is gone"), RuntimeError("10.1.2.3 is gone")]
)
async def test_what_fails_tells_no_addresses(gateway: Served, failure: Exception) -> None:
    async def fails() -> None:
        raise failure

    with patch.object(gateway.registry, "create", lambda **_: fails()):
        answer = await ask(gateway, "tools/call", {"name": "create_session", "arguments": {}})
    assert answer.status_code == 200
    assert '"isError":true' in answer.text or '"error":' in answer.text
    assert "10.1.2.3" not in answer.text


async def test_sessions_are_listed_wherever_they_live_and_ended_where_they_do(tmp_path: Path) -> None:
    async with served(tmp_path) as here, served(tmp_path) as there:
        made = (await call(here, "create_session", {}))["structuredContent"]["session"]
        await here.services.gateway.instance.settle()
        for gateway, status in ((here, "idle"), (there, "elsewhere")):
            (listed,) = (await call(gateway, "list_sessions", {}))["structuredContent"]["sessions"]
            assert (listed["session"], listed["status"]) == (made, status)
        assert (await call(there, "delete_session", {"session": made}))["isError"]
        assert here.registry.is_alive(made, owner="a")
        assert not (await call(here, "delete_session", {"session": made}))["isError"]
        assert (await call(here, "list_sessions", {}))["structuredContent"] == {"sessions": []}
