from __future__ import annotations

import asyncio
import os
from pathlib import Path

import httpx
import pytest
import respx

from app import main
from app.config import Settings
from app.demo import servers
from app.demo.processes import ServerFailed, wait_ready
from app.demo.servers import _server
from tests.fakes.worker import FakeBackend


async def test_a_server_answers_on_the_socket_it_was_given_and_ends_with_the_block() -> None:
    async with (
        _server(["upstream", "--tps", "0"], os.environ) as (url, _),
        httpx.AsyncClient(timeout=30) as client,
    ):
        models = (await client.get(f"{url}/v1/models")).json()
        assert "demo" in [model["id"] for model in models["data"]]
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{url}/v1/models")


async def test_a_server_that_does_not_start_is_told_with_its_last_words() -> None:
    async with asyncio.timeout(60), _server(["upstream", "--corpus", "/nowhere"], os.environ) as (url, process):
        with pytest.raises(ServerFailed, match=r"eager upstream ended with status 2:\neager: no programs"):
            await wait_ready(f"{url}/readyz", server=process)


async def test_a_server_that_does_not_get_ready_is_told_with_its_reason() -> None:
    async with _server(["upstream"], os.environ) as (url, process):
        with pytest.raises(ServerFailed, match="not ready after 0 s"):
            await wait_ready(f"{url}/v1/nothing", server=process, limit_s=0)


async def test_a_server_is_asked_again_until_it_is_ready(respx_mock: respx.MockRouter) -> None:
    answers = [
        httpx.ConnectError("nobody listens"),
        httpx.ReadTimeout("busy"),
        httpx.Response(503, json={"ready": True}),
        httpx.Response(200, json={"ready": False}),
        httpx.Response(200, json={"ready": True}),
    ]
    probed = respx_mock.get("http://gateway/readyz").mock(side_effect=answers)
    await wait_ready("http://gateway/readyz", is_ready=lambda document: document["ready"])
    assert probed.call_count == len(answers)


async def test_the_gateway_of_the_demo_is_set_up_whatever_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAGER_API_KEYS", "secret")
    monkeypatch.setenv("EAGER_TIMEOUT_S", "7")
    environment = servers._gateway_environment("http://127.0.0.1:5", 2)
    assert environment["EAGER_UPSTREAM_BASE_URL"] == "http://127.0.0.1:5/v1"
    assert environment["EAGER_API_KEYS"] == ""
    assert environment["EAGER_TIMEOUT_S"] == "7"
    assert environment["EAGER_SANDBOX"] == "local"
    assert environment["EAGER_SANDBOX_LIMIT"] == environment["EAGER_POOL_SIZE"] == "2"


async def test_the_demo_leaves_what_a_gateway_beside_it_keeps_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EAGER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("EAGER_DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/x.db")
    for name, value in servers._gateway_environment("http://127.0.0.1:5", 2).items():
        monkeypatch.setenv(name, value)
    backend = FakeBackend()
    monkeypatch.setattr(main, "create_backend", lambda settings, egress: backend)
    app = main.create_app(Settings())
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        file = {"file": b"1"}
        answer = await client.post("http://127.0.0.1/v1/files", data={"purpose": "user_data"}, files=file)
        assert answer.status_code == 200
    assert list(tmp_path.iterdir()) == []
