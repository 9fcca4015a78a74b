from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from app.replay.server import create_app

PROGRAM = "".join(f"x{i} = {i}\n" for i in range(40))


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app behind a real server: disconnects and cuts need a socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[listener]))
        async with httpx.AsyncClient(base_url="http://{}:{}".format(*listener.getsockname())) as client:
            yield client
        server.should_exit = True


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with serving(create_app({"demo": PROGRAM, "two": "1\n"}, tps=0, ttft_ms=0)) as client:
        yield client


def body(model: str = "demo", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "go"}], "stream": True, **more}


async def frames_of(client: httpx.AsyncClient, request: dict[str, Any]) -> list[Any]:
    answer = await client.post("/v1/chat/completions", json=request)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    frames = answer.text.removesuffix("\n\n").split("\n\n") if answer.text else []
    return [json.loads(data) if (data := frame.removeprefix("data: ")) != "[DONE]" else data for frame in frames]


def text_of(frames: list[Any]) -> str:
    choices = [choice for frame in frames if frame != "[DONE]" for choice in frame.get("choices", [])]
    return "".join(choice["delta"].get("content", "") for choice in choices)


async def only_record(client: httpx.AsyncClient) -> dict[str, Any]:
    [record] = (await client.get("/__requests")).json()
    return dict(record)


async def test_a_program_is_streamed_token_by_token(client: httpx.AsyncClient) -> None:
    frames = await frames_of(client, body(stream_options={"include_usage": True}))
    assert text_of(frames) == f"```python\n{PROGRAM}```\n"
    assert frames[-1] == "[DONE]"
    assert frames[-2]["choices"] == []
    tokens = -(-len(PROGRAM) // 4)
    assert frames[-2]["usage"]["completion_tokens"] == tokens
    assert frames[-3]["choices"][0]["finish_reason"] == "stop"
    assert len(frames) == tokens + 4
    assert len({frame["id"] for frame in frames[:-1]}) == 1
    record = await only_record(client)
    assert record == {
        "id": frames[0]["id"],
        "model": "demo",
        "tokens_total": tokens,
        "tokens_sent": tokens,
        "finished": True,
        "client_left": False,
    }


async def test_usage_is_sent_only_when_asked_for(client: httpx.AsyncClient) -> None:
    frames = await frames_of(client, body("two"))
    assert not any("usage" in frame for frame in frames[:-1])


async def test_the_whole_answer_comes_as_one_object_without_stream(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/v1/chat/completions", json=body("two", stream=False))).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "```python\n1\n```\n"}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 1
    called = await client.post("/v1/chat/completions", json=body("two", stream=False, replay={"as": "tool"}))
    [call] = called.json()["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "python", "arguments": '{"code": "1\\n"}'}


async def test_a_client_that_leaves_is_noticed_at_once(client: httpx.AsyncClient) -> None:
    request = body(replay={"stall_after": 5})
    async with client.stream("POST", "/v1/chat/completions", json=request) as answer:
        async for _ in answer.aiter_bytes():
            if (await only_record(client))["tokens_sent"] == 5:
                break
    async with asyncio.timeout(5):
        while not (record := await only_record(client))["client_left"]:
            pass
    assert (record["tokens_sent"], record["finished"]) == (5, False)


async def test_a_client_that_leaves_a_fast_stream_stops_it() -> None:
    async with serving(create_app({"demo": "x" * 4_000_000}, tps=0, ttft_ms=0)) as client:
        async with client.stream("POST", "/v1/chat/completions", json=body()) as answer:
            await anext(answer.aiter_bytes())
        async with asyncio.timeout(5):
            while not (record := await only_record(client))["client_left"]:
                pass
    assert 0 < record["tokens_sent"] < record["tokens_total"]


async def test_a_client_that_leaves_before_a_whole_answer_is_noticed(client: httpx.AsyncClient) -> None:
    async with asyncio.TaskGroup() as group:
        request = group.create_task(
            client.post("/v1/chat/completions", json=body(stream=False, replay={"ttft_ms": 60_000}))
        )
        while not (await client.get("/__requests")).json():
            pass
        request.cancel()
    async with asyncio.timeout(5):
        while not (record := await only_record(client))["client_left"]:
            pass
    assert record["tokens_sent"] == 0


async def test_tokens_never_come_before_they_are_due(client: httpx.AsyncClient) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    seen = 0
    async with client.stream(
        "POST", "/v1/chat/completions", json=body(replay={"tps": 500, "ttft_ms": 20, "fail_after": 20})
    ) as answer:
        async for data in answer.aiter_bytes():
            seen += data.count(b'"content"')
            assert loop.time() - started >= 0.02 + (seen - 1) / 500 - 0.002
    assert seen == 21, "the opening and 20 tokens"


async def test_an_http_error_can_be_asked_for(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json=body(replay={"status": 429}))
    assert answer.status_code == 429
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


async def test_an_error_in_the_middle_can_be_asked_for(client: httpx.AsyncClient) -> None:
    frames = await frames_of(client, body(replay={"error_after": 3}))
    assert len(frames) == 6
    assert frames[4]["error"]["code"] == "replay_error"
    assert frames[5] == "[DONE]"


async def test_a_connection_can_be_cut(client: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post("/v1/chat/completions", json=body(replay={"cut_after": 3}))
    record = await only_record(client)
    assert (record["tokens_sent"], record["finished"], record["client_left"]) == (3, False, False)


async def test_a_stream_can_end_without_a_finish_reason(client: httpx.AsyncClient) -> None:
    frames = await frames_of(client, body("two", replay={"fail_after": 1}))
    assert len(frames) == 2
    frames = await frames_of(client, body("two", replay={"finish": None}))
    assert {choice["finish_reason"] for frame in frames[:-1] for choice in frame["choices"]} == {None}


async def test_models_are_the_programs(client: httpx.AsyncClient) -> None:
    models = (await client.get("/v1/models")).json()
    assert [model["id"] for model in models["data"]] == ["demo", "two"]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"model": "demo"}', b'{"messages": [{}], "model": "x@y"}'])
async def test_a_bad_request_is_told_so_in_the_shape_of_openai(client: httpx.AsyncClient, content: bytes) -> None:
    answer = await client.post("/v1/chat/completions", content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_an_unknown_path_is_told_so_in_the_shape_of_openai(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/nothing")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


async def test_records_can_be_forgotten(client: httpx.AsyncClient) -> None:
    await frames_of(client, body("two"))
    assert (await client.delete("/__requests")).status_code == 204
    assert (await client.get("/__requests")).json() == []
