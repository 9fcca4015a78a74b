"""Errors on every path have OpenAI's shape, and say whether a retry is any use."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.acceptance.chat import ask, body
from tests.acceptance.upstream import Upstream

SHAPE = {"message", "type", "param", "code"}
PROGRAM = "print('ran')\n" + "x = 1\n" * 20


@pytest.mark.parametrize("tools", ["code", "none"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("upstream_status", "status"), [(400, 400), (401, 502), (404, 404), (422, 400), (429, 429), (500, 502)]
)
async def test_an_upstreams_refusal_is_an_http_error(
    gateway: httpx.AsyncClient, upstream_status: int, status: int, stream: bool, tools: str
) -> None:
    request = body(f"status-{upstream_status}", stream=stream)
    if tools == "none":
        del request["tools"]
        request["stream"] = stream
    response = await gateway.post("/v1/chat/completions", json=request)
    assert response.status_code == status
    assert set(response.json()["error"]) == SHAPE
    assert response.headers["x-request-id"]
    assert "x-should-retry" not in response.headers


@pytest.mark.parametrize("model", ["l-mid-error", "l2-mid-error-event", "l3-mid-error-chunk"])
async def test_an_upstream_that_breaks_in_mid_stream_is_an_error_event(gateway: httpx.AsyncClient, model: str) -> None:
    answer = await ask(gateway, body(model, PROGRAM))
    assert answer.error is not None
    assert answer.error["type"] == "upstream_error"


@pytest.mark.parametrize("model", ["up-mid-error", "cut/100"])
async def test_as_long_as_the_client_was_shown_nothing_it_is_an_http_error(
    gateway: httpx.AsyncClient, model: str
) -> None:
    response = await gateway.post("/v1/chat/completions", json=body(model, PROGRAM, stream=True))
    assert response.status_code == 502
    assert response.json()["error"]["type"] == "upstream_error"
    answer = await ask(gateway, body(model, PROGRAM, eager={"events": True}))
    assert answer.error is not None
    assert answer.error["type"] == "upstream_error"


async def test_without_a_stream_it_is_an_http_error_that_is_not_to_be_retried_once_code_ran(
    gateway: httpx.AsyncClient,
) -> None:
    response = await gateway.post("/v1/chat/completions", json=body("cut/10", PROGRAM))
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "bad_gateway"
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"messages": None}, "messages", "invalid_value"),
        ({"messages": "x"}, "messages", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_value"),
        ({"tools": {"a": 1}}, "tools", "invalid_value"),
        ({"eager": {"on_error": "panic"}}, "eager.on_error", "invalid_value"),
        ({"eager": {"unheard_of": 1}}, "eager.unheard_of", "invalid_value"),
        ({"eager": {"session": "ses_unknown"}}, "session", "session_not_found"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(
    gateway: httpx.AsyncClient, upstream: Upstream, change: dict[str, Any], param: str, code: str
) -> None:
    response = await gateway.post("/v1/chat/completions", json={**body("up-openai"), **change})
    error = response.json()["error"]
    assert response.status_code == (404 if code == "session_not_found" else 400)
    assert (error["param"], error["code"]) == (param, code)
    assert upstream.asked == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/eager/completions"])
async def test_a_request_with_an_idempotency_key_runs_once(
    gateway: httpx.AsyncClient, upstream: Upstream, path: str
) -> None:
    headers = {"idempotency-key": f"once {path}"}
    first = await gateway.post(path, json=body("up-openai"), headers=headers)
    asked = len(upstream.asked)
    again = await gateway.post(path, json=body("up-openai"), headers=headers)
    assert first.status_code == again.status_code == 200
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert len(upstream.asked) == asked
    other = await gateway.post(path, json=body("up-text"), headers=headers)
    assert other.status_code == 400
