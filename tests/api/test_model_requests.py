"""What all endpoints for models have in common, over each of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.api.served import served

ENDPOINTS = ("eager/completions", "chat/completions", "responses")


def request(path: str, **fields: Any) -> dict[str, Any]:
    said = {"input": "Go."} if path == "responses" else {"messages": [{"role": "user", "content": "Go."}]}
    return {"model": "m", **said, **fields}


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "other"}, "model"),
        ({"model": "other:eager"}, "model"),
        ({"model": "m:eager", "models": ["m", "other"]}, "models"),
        ({"fallbacks": [{"model": "other"}]}, "fallbacks"),
    ],
)
async def test_a_key_for_some_models_asks_for_no_other_one(
    tmp_path: Path, path: str, fields: dict[str, Any], param: str
) -> None:
    async with served(tmp_path) as gateway, gateway.http("kb") as http:
        answer = await http.post(f"/v1/{path}", json=request(path, **fields))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (403, param, "permission_denied")
    assert gateway.upstream.requests == []


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_the_upstream_is_asked_for_the_model_of_an_alias(tmp_path: Path, path: str) -> None:
    async with served(tmp_path) as gateway, gateway.http("kb") as http:
        gateway.upstream.delta({"content": "Hello."})
        gateway.upstream.finish("stop")
        answer = await http.post(f"/v1/{path}", json=request(path, model="m:eager"))
    assert answer.status_code == 200
    assert [asked["model"] for asked in gateway.upstream.requests] == ["m"]


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_header_that_is_no_option_is_refused(tmp_path: Path, path: str) -> None:
    async with served(tmp_path) as gateway, gateway.http() as http:
        answer = await http.post(f"/v1/{path}", json=request(path), headers={"x-eager-max-turns": "many"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "eager.max_turns")


@pytest.mark.parametrize("path", ["eager/completions", "chat/completions"])
async def test_code_runs_while_it_is_written_under_the_name_that_its_tools_schema_gives(
    tmp_path: Path, path: str
) -> None:
    schema = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    tools = [{"type": "function", "function": {"name": "python", "parameters": schema}}]
    async with asyncio.timeout(30), served(tmp_path) as gateway, gateway.http() as http, asyncio.TaskGroup() as tasks:
        worker, upstream = gateway.backend.workers[0], gateway.upstream
        worker.hold = "x = 1"
        asking = tasks.create_task(http.post(f"/v1/{path}", json=request(path, tools=tools)))
        head = {"name": "python", "arguments": '{"query": "x = 1\\ny'}
        upstream.delta({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": head}]})
        await worker.running.wait()
        worker.release.set()
        upstream.delta({"tool_calls": [{"index": 0, "function": {"arguments": ' = 2"}'}}]})
        upstream.finish()
        upstream.delta({"content": "Done."})
        upstream.finish("stop")
        answer = await asking
    assert answer.status_code == 200
    assert [source for each in worker.executed for source in each.sources][-2:] == ["x = 1\n", "y = 2"]
