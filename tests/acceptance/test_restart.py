"""A gateway that is stopped, or killed, comes back with what it had stored; what ran in it has expired."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.acceptance.chat import PYTHON, WEATHER, ask, body
from tests.acceptance.test_client_calls import BOTH, coming_back
from tests.acceptance.upstream import Upstream
from tests.backends import require_backend
from tests.scenarios.servers import Server, eager

INTERPRETER: Any = {"type": "code_interpreter", "container": {"type": "auto"}}


@asynccontextmanager
async def gateway(
    upstream: Upstream, data: Path
) -> AsyncIterator[tuple[Server, httpx.AsyncClient, openai.AsyncOpenAI]]:
    require_backend("local")
    settings = {"EAGER_DATA_DIR": str(data), "EAGER_POOL_SIZE": "1", "EAGER_PRELOAD": ""}
    with eager("serve", EAGER_UPSTREAM_BASE_URL=upstream.url, **settings) as server:
        sdk = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60)
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as http, sdk:
            yield server, http, sdk


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
async def test_what_was_stored_is_there_and_what_ran_has_expired(
    upstream: Upstream, tmp_path: Path, how: signal.Signals
) -> None:
    async with gateway(upstream, tmp_path) as (server, http, sdk):
        file = await sdk.files.create(file=("a.csv", b"1"), purpose="user_data")
        container = await sdk.containers.create(name="mine")
        cited = await sdk.containers.files.create(container.id, file=("b.csv", b"2"))
        first = await sdk.responses.create(model="program", input="x = 1\nx\n", tools=[INTERPRETER])
        mixed = await ask(http, body("up-parallel-interleaved", tools=BOTH, eager={"events": True}))
        session = (await http.post("/v1/sessions")).json()["id"]
        endless = {"code": "print('on', flush=True)\nwhile True:\n    pass\n", "stream": True}
        async with http.stream("POST", f"/v1/sessions/{session}/execute", json=endless) as running:
            async for line in running.aiter_lines():
                if "exec.output" in line:
                    break
            os.kill(server.pid, how)
            await until_gone(server.pid)
    end_lease(tmp_path)

    upstream.asked.clear()
    async with gateway(upstream, tmp_path) as (_, http, sdk):
        assert (await sdk.responses.retrieve(first.id)).output == first.output
        assert (await sdk.files.content(file.id)).read() == b"1"

        await until_expired(sdk, container.id)
        listed = {found.id: found.status async for found in sdk.containers.list()}
        assert listed[container.id] == "expired"
        assert (await sdk.containers.retrieve(container.id)).status == "expired"
        with pytest.raises(openai.NotFoundError, match="expired"):
            await sdk.containers.files.content.retrieve(cited.id, container_id=container.id)
        with pytest.raises(openai.BadRequestError, match="expired"):
            await sdk.responses.create(model="program", input="1\n", tools=[{**INTERPRETER, "container": container.id}])
        for method, path, sent in (("GET", "", None), ("POST", "/execute", {"code": "1"}), ("DELETE", "", None)):
            gone = await http.request(method, f"/v1/sessions/{session}{path}", json=sent)
            assert gone.status_code == 404
            assert gone.json()["error"]["code"] == "session_not_found"
            assert "expired" in gone.json()["error"]["message"]

        again = await sdk.responses.create(
            model="program", input="print('x' in globals())\n", tools=[INTERPRETER], previous_response_id=first.id
        )
        assert again.output_text == "The tool said: False"
        await ask(http, {**body("up-parallel-interleaved", tools=[PYTHON, WEATHER]), "messages": coming_back(mixed)})
        roles = [message["role"] for message in upstream.bodies()[-1]["messages"]]
        assert roles == ["user", "assistant", "tool", "tool"], "the hidden call of the mixed turn was remembered"


async def until_expired(sdk: openai.AsyncOpenAI, container_id: str) -> None:
    """The next gateway looks for what others have left once it has started."""
    async with asyncio.timeout(60):
        while (await sdk.containers.retrieve(container_id)).status != "expired":
            await asyncio.sleep(0.5)


def end_lease(data: Path) -> None:
    """A gateway that was killed has said nothing: its containers are gone when its lease is over, in 30 s at most."""
    with closing(sqlite3.connect(data / "eager.db")) as database, database:
        database.execute("UPDATE eager_instances SET alive_until = 0")


async def until_gone(pid: int) -> None:
    process = os.pidfd_open(pid)
    try:
        ended, _, _ = await asyncio.to_thread(select.select, [process], [], [], 60)
    finally:
        os.close(process)
    assert ended
