"""A client of the gateway, as an app would write it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

JsonEvent = dict[str, Any]
PYTHON_TOOL = {
    "type": "function",
    "function": {
        "name": "python",
        "parameters": {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]},
    },
}

#: As SDKs do where a gateway is overloaded, as when a busy machine takes too long to start a sandbox.
RETRIES = 2


def body(model: str, prompt: str = "Go.", *, stream: bool = True, **eager: Any) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "tools": [PYTHON_TOOL],
        "stream": stream,
        "eager": eager,
    }


async def events(client: httpx.AsyncClient, request: dict[str, Any]) -> AsyncIterator[JsonEvent]:
    """The events of one streamed request, checked for their order."""
    async with client.stream("POST", "/v1/eager/completions", json=request) as response:
        if response.status_code != 200:
            raise AssertionError((await response.aread()).decode())
        expected = 0
        async for line in response.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            event = json.loads(line.removeprefix("data: "))
            assert event["seq"] == expected, event
            expected += 1
            yield event


async def collect(client: httpx.AsyncClient, request: dict[str, Any]) -> list[JsonEvent]:
    return [event async for event in events(client, request)]


def of_type(found: list[JsonEvent], kind: str) -> list[JsonEvent]:
    return [event for event in found if event["type"] == kind]


def text(found: list[JsonEvent], stream: str) -> str:
    return "".join(event["text"] for event in of_type(found, "exec.output") if event["stream"] == stream)


@asynccontextmanager
async def session(client: httpx.AsyncClient, files: list[Path]) -> AsyncIterator[str]:
    """A kept session with files in its work folder, put there as any client can: by running code."""
    created = await client.post("/v1/sessions")
    for _ in range(RETRIES):
        if created.status_code != 503:
            break
        created = await client.post("/v1/sessions")
    assert created.status_code == 200, created.text
    id = created.json()["id"]
    try:
        for file in files:
            content = base64.b64encode(file.read_bytes()).decode()
            code = f"import base64\nopen({file.name!r}, 'wb').write(base64.b64decode('{content}'))\n"
            done = await client.post(f"/v1/sessions/{id}/execute", json={"code": code})
            assert done.status_code == 200, done.text
            assert done.json()["status"] == "ok", done.text[:2000]
        yield id
    finally:
        deleted = await client.delete(f"/v1/sessions/{id}")
        assert deleted.status_code == 200, deleted.text


async def cut_short(upstream: httpx.AsyncClient, model: str) -> dict[str, Any]:
    """The replay upstream's record of the last request for ``model``, once it has noticed that its reader left."""
    async with asyncio.timeout(5):
        while True:
            requests = (await upstream.get("/__requests")).json()
            record: dict[str, Any] = [request for request in requests if request["model"] == model][-1]
            if record["client_left"]:
                return record
            await asyncio.sleep(0.02)
