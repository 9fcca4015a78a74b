"""A request without a code tool is passed on, and its answer back, as they are."""

from __future__ import annotations

import httpx
import pytest

from tests.acceptance.chat import WEATHER, body
from tests.acceptance.upstream import STREAMS, Upstream


def events(data: str) -> list[str]:
    return [line for line in data.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("model", ["up-text", "up-unknown-tool", "up-openai", "m-n2", "s-lone-surrogate"])
async def test_a_stream_is_passed_on_unchanged(gateway: httpx.AsyncClient, upstream: Upstream, model: str) -> None:
    request = body(model, tools=[WEATHER], n=2, temperature=1, made_up={"by": "the client"})
    response = await gateway.post("/v1/chat/completions", json={**request, "stream": True})
    assert response.status_code == 200
    assert events(response.text) == events((STREAMS / f"{model}.sse").read_text())
    (asked,) = upstream.asked
    assert asked.body == {**request, "stream": True}
    assert asked.authorization == "Bearer upstream-key"


async def test_one_event_is_one_line_however_it_was_cut(gateway: httpx.AsyncClient) -> None:
    request = body("up-openai+multiline", tools=None, stream=True)
    response = await gateway.post("/v1/chat/completions", json=request)
    lines = [line for line in response.text.split("\n") if line]
    assert all(line.startswith("data: ") for line in lines)


async def test_an_answer_is_passed_on_unchanged(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    response = await gateway.post("/v1/chat/completions", json=body("any", tools=None, n=2, eager={"mode": "serial"}))
    answer = response.json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["id"] == "up-1"
    assert answer["choices"][0]["message"]["vendor_field"] == {"kept": True}
    assert "eager" not in answer
    assert "eager" not in upstream.bodies()[0]


async def test_with_a_code_tool_there_is_one_choice(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    response = await gateway.post("/v1/chat/completions", json=body("up-openai", n=2))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "n"
    assert upstream.asked == []
