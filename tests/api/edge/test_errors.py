"""Every error, whoever raised it, reaches the client as OpenAI's SDKs expect it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import openai
import pytest
from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, Field

from app.api.edge.errors import error_response, install, to_body
from app.api.edge.request_id import RequestIdMiddleware
from app.api.edge.request_notes import notes_of
from app.errors import EagerError, RequestError, SandboxUnavailable, SessionBusy, UpstreamRefused, UpstreamUnreachable
from tests.api.served import served


class Message(BaseModel):
    role: str


class Body(BaseModel):
    model: str
    messages: list[Message] = Field(min_length=1)
    temperature: float | None = None
    input: str | list[Message] = ""


ERRORS: dict[str, Exception] = {
    "request": RequestError("no", param="n", code="unsupported_parameter"),
    "busy": SessionBusy("busy"),
    "full": SandboxUnavailable("none free"),
    "timeout": UpstreamUnreachable("slow", timed_out=True),
    "refused": UpstreamRefused("slow down", status=429, type="requests", headers={"Retry-After": "7"}),
    "bug": ZeroDivisionError("secret detail"),
    "surrogate": RequestError("bad name \ud800"),
}


def make_app() -> FastAPI:
    app = FastAPI()
    install(app)
    app.add_middleware(RequestIdMiddleware)

    @app.post("/v1/things")
    async def create(body: Body) -> dict[str, str]:
        return {"model": body.model}

    @app.get("/v1/things")
    async def list_things(limit: Annotated[int, Query(ge=1)]) -> int:
        return limit

    @app.get("/v1/fail/{name}")
    async def fail(name: str, request: Request, ran: bool = False) -> None:
        if ran:
            notes_of(request.scope).code_ran = True
        raise ERRORS[name]

    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(make_app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


def error_of(response: httpx.Response, status: int) -> dict[str, str | None]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"].startswith("req_")
    assert len(response.headers.get_list("x-request-id")) == 1
    error: dict[str, str | None] = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": [{"role": "user"}]}, "model", "missing_required_parameter"),
        ({"model": "m"}, "messages", "missing_required_parameter"),
        ({"model": "m", "messages": "x"}, "messages", "invalid_value"),
        ({"model": "m", "messages": []}, "messages", "invalid_value"),
        ({"model": "m", "messages": [{"role": "user"}, {}]}, "messages.1.role", "missing_required_parameter"),
        ({"model": "m", "messages": [{"role": 3}]}, "messages.0.role", "invalid_value"),
        ({"model": "m", "messages": [{"role": "u"}], "temperature": "hot"}, "temperature", "invalid_value"),
        ([], None, "invalid_value"),
    ],
)
async def test_a_body_that_does_not_validate_is_a_400_that_names_the_parameter(
    client: httpx.AsyncClient, body: object, param: str | None, code: str
) -> None:
    error = error_of(await client.post("/v1/things", json=body), 400)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)


async def test_names_of_a_unions_members_are_no_part_of_the_path(client: httpx.AsyncClient) -> None:
    body = {"model": "m", "messages": [{"role": "u"}], "input": [{"role": "u"}, {"role": 1}]}
    assert error_of(await client.post("/v1/things", json=body), 400)["param"] in ("input", "input.1.role")


@pytest.mark.parametrize("content", [b"{not json", b'{"model": "\xff"}', b"[" * 100_000])
async def test_a_body_that_is_no_json_is_a_400(client: httpx.AsyncClient, content: bytes) -> None:
    response = await client.post("/v1/things", content=content, headers={"content-type": "application/json"})
    assert error_of(response, 400)["type"] == "invalid_request_error"


async def test_a_body_of_another_content_type_is_a_400_that_says_so(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/things", content=b'{"model": "m"}', headers={"content-type": "text/plain"})
    assert "application/json" in str(error_of(response, 400)["message"])


async def test_no_body_at_all_is_a_400(client: httpx.AsyncClient) -> None:
    assert error_of(await client.post("/v1/things"), 400)["code"] == "missing_required_parameter"


@pytest.mark.parametrize("query", ["", "?limit=0", "?limit=x"])
async def test_a_query_that_does_not_validate_names_the_parameter(client: httpx.AsyncClient, query: str) -> None:
    assert error_of(await client.get(f"/v1/things{query}"), 400)["param"] == "limit"


async def test_an_unknown_path_says_which(client: httpx.AsyncClient) -> None:
    error = error_of(await client.get("/v1/nope"), 404)
    assert (error["code"], error["message"]) == ("unknown_url", "Invalid URL (GET /v1/nope)")


async def test_a_wrong_method_is_a_405_that_tells_the_right_ones(client: httpx.AsyncClient) -> None:
    response = await client.delete("/v1/things")
    assert error_of(response, 405)["code"] == "method_not_allowed"
    assert response.headers["allow"]


@pytest.mark.parametrize(
    ("name", "status", "type", "code", "retry_after"),
    [
        ("request", 400, "invalid_request_error", "unsupported_parameter", None),
        ("busy", 409, "conflict_error", "session_busy", None),
        ("full", 429, "requests", "rate_limit_exceeded", "1"),
        ("timeout", 504, "upstream_timeout", "gateway_timeout", None),
        ("refused", 429, "requests", None, "7"),
        ("surrogate", 400, "invalid_request_error", "invalid_value", None),
    ],
)
async def test_our_errors_keep_their_status_type_code_and_headers(
    client: httpx.AsyncClient, name: str, status: int, type: str, code: str | None, retry_after: str | None
) -> None:
    response = await client.get(f"/v1/fail/{name}")
    error = error_of(response, status)
    assert (error["type"], error["code"], response.headers.get("retry-after")) == (type, code, retry_after)
    assert "x-should-retry" not in response.headers


async def test_a_bug_tells_the_client_nothing_and_the_log_everything(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="app.api.edge.errors"):
        response = await client.get("/v1/fail/bug")
    error = error_of(response, 500)
    assert (error["type"], error["code"]) == ("server_error", "internal_error")
    assert "secret" not in response.text
    assert response.headers["x-request-id"] in caplog.text
    assert "secret detail" in caplog.text


@pytest.mark.parametrize("name", ["full", "bug", "timeout"])
async def test_once_code_has_run_clients_are_told_not_to_retry(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/v1/fail/{name}?ran=true")).headers["x-should-retry"] == "false"


async def test_a_body_for_streams_says_what_the_response_says() -> None:
    error = UpstreamRefused("slow down", status=429, type="requests", code="rate_limit_exceeded")
    body = to_body(error)
    assert (body.message, body.type, body.code) == ("slow down", "requests", "rate_limit_exceeded")
    assert error_response(error).status_code == 429
    assert to_body(KeyError("secret")).message == to_body(EagerError(to_body(KeyError()).message)).message


async def test_openai_python_raises_its_own_classes(client: httpx.AsyncClient) -> None:
    sdk = openai.AsyncOpenAI(base_url="http://gateway/v1", api_key="k", max_retries=0, http_client=client)
    with pytest.raises(openai.ConflictError) as conflict:
        await sdk.get("/fail/busy", cast_to=object)
    assert conflict.value.code == "session_busy"
    assert conflict.value.request_id
    with pytest.raises(openai.RateLimitError):
        await sdk.get("/fail/full", cast_to=object)
    with pytest.raises(openai.NotFoundError):
        await sdk.get("/nope", cast_to=object)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Go."}]}),
        ("/v1/responses", {"input": "Go."}),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_when_to_come_back_is_told_also_where_a_later_turn_is_refused(
    tmp_path: Path, path: str, asked: dict[str, Any], stream: bool
) -> None:
    tool = {"type": "code_interpreter", "container": {"type": "auto"}}
    body = {"model": "m", "stream": stream, "tools": [tool], **asked}
    async with served(tmp_path) as gateway, gateway.http() as http, asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(http.post(path, json=body))
        while not gateway.upstream.requests:
            await asyncio.sleep(0)
        gateway.upstream.refusal = ERRORS["refused"]
        gateway.upstream.code("x = 1\n")
        gateway.upstream.end_code()
        gateway.upstream.finish()
    answer = asking.result()
    if stream and path == "/v1/responses":  # its first events were sent long before
        assert (answer.status_code, "response.failed" in answer.text) == (200, True)
    else:
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
        assert answer.headers["x-should-retry"] == "false"


async def test_a_slash_too_many_is_an_unknown_url_and_leads_nowhere_else(tmp_path: Path) -> None:
    async with served(tmp_path) as gateway, gateway.http() as http:
        answer = await http.get("/v1/files/")
    assert "location" not in answer.headers
    assert error_of(answer, 404)["message"] == "Invalid URL (GET /v1/files/)"
