"""``/mcp``, asked by the official clients of Python (both generations of the protocol) and of Node."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, ImageContent, TextContent

from tests.acceptance.sdks import ENVIRONMENT, require_sdks

MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


@asynccontextmanager
async def connected(gateway_url: str, mode: str = "auto") -> AsyncIterator[Client]:
    headers = {"authorization": "Bearer client-key"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{gateway_url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def text(result: CallToolResult) -> str:
    return "".join(part.text for part in result.content if isinstance(part, TextContent))


@MODES
async def test_code_is_heard_while_it_runs(gateway_url: str, gateway: httpx.AsyncClient, mode: str) -> None:
    """It runs until it has been heard."""
    heard = asyncio.Event()

    async def progress(count: float, total: float | None, message: str | None) -> None:
        heard.set()

    async with connected(gateway_url, mode) as client:
        session = (await client.call_tool("create_session", {})).structured_content["session"]
        asked = {"code": "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.05)", "session": session}
        running = asyncio.create_task(client.call_tool("run_code", asked, progress_callback=progress))
        await asyncio.wait_for(heard.wait(), 60)
        await gateway.post(f"/v1/sessions/{session}/interrupt")
        answer = await running
        assert answer.structured_content["status"] == "interrupted"
        assert text(answer).startswith("begun\n")
        await client.call_tool("delete_session", {"session": session})


@MODES
async def test_a_session_keeps_its_state_until_it_is_deleted(gateway_url: str, mode: str) -> None:
    async with connected(gateway_url, mode) as client:
        session = (await client.call_tool("run_code", {"code": "x = 6"})).structured_content["session"]
        second = await client.call_tool("run_code", {"code": "x * 7", "session": session})
        assert text(second) == f"42\n[session {session}]"
        failed = await client.call_tool("run_code", {"code": "1 / 0", "session": session})
        assert failed.is_error
        assert "ZeroDivisionError" in text(failed)
        assert session in text(await client.call_tool("list_sessions", {}))
        await client.call_tool("delete_session", {"session": session})
        gone = await client.call_tool("run_code", {"code": "x", "session": session})
        assert gone.is_error
        assert "no session" in text(gone)


@MODES
async def test_files_go_in_and_out(gateway_url: str, mode: str) -> None:
    async with connected(gateway_url, mode) as client:
        made = await client.call_tool("run_code", {"code": "import struct"})
        session = made.structured_content["session"]
        await client.call_tool("write_file", {"session": session, "path": "in/a.csv", "content": "é,1\n"})
        raw = {"session": session, "path": "b.bin", "content": "/wA=", "encoding": "base64"}
        await client.call_tool("write_file", raw)
        code = "from PIL import Image; Image.new('RGB', (2, 2)).save('c.png'); open('in/a.csv').read()"
        told = await client.call_tool("run_code", {"code": code, "session": session})
        assert "'é,1\\n'" in text(told)
        assert told.structured_content["files"] == [
            {"path": "c.png", "change": "created", "bytes": told.structured_content["files"][0]["bytes"]}
        ]
        listed = await client.call_tool("list_files", {"session": session})
        assert {file["path"] for file in listed.structured_content["files"]} == {"in/a.csv", "b.bin", "c.png"}
        picture = await client.call_tool("read_file", {"session": session, "path": "c.png"})
        assert isinstance(picture.content[1], ImageContent)
        bytes_ = await client.call_tool("read_file", {"session": session, "path": "b.bin"})
        assert bytes_.content[1].resource.blob == "/wA="  # type: ignore[union-attr]
        await client.call_tool("delete_file", {"session": session, "path": "b.bin"})
        assert (await client.call_tool("read_file", {"session": session, "path": "b.bin"})).is_error
        await client.call_tool("delete_session", {"session": session})


async def test_a_client_that_leaves_stops_its_code(gateway_url: str, gateway: httpx.AsyncClient) -> None:
    async with connected(gateway_url) as client:
        created = await client.call_tool("create_session", {})
        session = created.structured_content["session"]
        begun = asyncio.Event()

        async def progress(count: float, total: float | None, message: str | None) -> None:
            begun.set()

        code = "import time\nprint('begun', flush=True)\ntime.sleep(600)"
        running = asyncio.create_task(
            client.call_tool("run_code", {"code": code, "session": session}, progress_callback=progress)
        )
        await asyncio.wait_for(begun.wait(), 60)
        running.cancel()
    async with asyncio.timeout(60):
        while (await gateway.get(f"/v1/sessions/{session}")).json()["status"] == "busy":
            await asyncio.sleep(0.05)
    await gateway.delete(f"/v1/sessions/{session}")


@pytest.mark.sdks
def test_the_client_of_node(gateway_url: str) -> None:
    require_sdks()
    node = ENVIRONMENT / "node"
    links = ("--preserve-symlinks", "--preserve-symlinks-main")
    program = [node / "node", *links, node / "clients" / "mcp_client.mjs", f"{gateway_url}/mcp", "client-key"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "run_code" in told["tools"]
    assert "".join(told["progress"]) == "begun\n"
    assert told["first"] == f"begun\n4\n[Files: created a.txt]\n[session {told['session']}]"
    assert told["second"] == f"42\n[session {told['session']}]"
    assert (told["file"], told["missing"]) == ("kept", True)
