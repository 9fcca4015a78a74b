from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from loadtests.gateway_client import GatewayClient
from loadtests.measurement import RunFailed


class Sessions:
    """A gateway's sessions, as far as a client sees them."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ename = "InterpreterExit"
        self.app = web.Application()
        self.app.add_routes(
            [
                web.post("/v1/sessions/{id}/execute", self.execute),
                web.put("/v1/sessions/{id}/files/{path}", self.put),
                web.get("/v1/sessions/{id}/files", self.list),
            ]
        )

    async def execute(self, request: web.Request) -> web.Response:
        code = (await request.json())["code"]
        self.asked.append("end" if "_exit" in code else code.strip())
        if "_exit" in code:
            return web.json_response({"status": "error", "exec_error": {"ename": self.ename}})
        return web.json_response({"status": "ok", "exec_error": None})

    async def list(self, request: web.Request) -> web.Response:
        self.asked.append("list")
        return web.json_response({"data": []})

    async def put(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.match_info['path']}: {(await request.read()).decode()}")
        return web.json_response({})


@pytest.fixture
async def sessions() -> AsyncIterator[tuple[Sessions, GatewayClient]]:
    fake = Sessions()
    async with TestServer(fake.app) as server, aiohttp.ClientSession() as http:
        yield fake, GatewayClient(http, str(server.make_url("")).rstrip("/"))


async def test_a_session_is_renewed_before_files_are_put(
    sessions: tuple[Sessions, GatewayClient], tmp_path: Path
) -> None:
    fake, client = sessions
    file = tmp_path / "a.csv"
    file.write_text("1,2")
    await client.renew("s", [file])
    assert fake.asked == ["end", "a.csv: 1,2", "list"]


async def test_a_session_that_was_not_renewed_is_told(sessions: tuple[Sessions, GatewayClient]) -> None:
    fake, client = sessions
    fake.ename = "PermissionError"
    with pytest.raises(RunFailed, match="PermissionError"):
        await client.renew("s")
