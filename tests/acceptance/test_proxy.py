"""A request without a code tool is passed on, and its answer back, as they are."""

from __future__ import annotations

import re
from itertools import groupby

import httpx
import pytest

from tests.acceptance.chat import WEATHER, body
from tests.acceptance.upstream import STREAMS, Upstream

#: Streams framed otherwise than R1 of PROTOCOL.md wants it: foreign line ends, pings, names of events, no end.
FRAMED = {
    "l2-mid-error-event",
    "up-fenced+ascii+crlf",
    *(f"up-openai+{how}" for how in ("bom", "cr", "crlf", "multiline", "nodone", "nospace", "pings")),
}
ALL = {path.stem for path in STREAMS.glob("*.sse")}


async def proxied(gateway: httpx.AsyncClient, model: str) -> bytes:
    response = await gateway.post("/v1/chat/completions", json=body(model, tools=[WEATHER], stream=True))
    assert response.status_code == 200
    return response.content


@pytest.mark.parametrize("model", sorted(ALL - FRAMED))
async def test_a_stream_is_passed_on_byte_for_byte(gateway: httpx.AsyncClient, model: str) -> None:
    assert await proxied(gateway, model) == (STREAMS / f"{model}.sse").read_bytes()


@pytest.mark.parametrize("model", sorted(FRAMED))
async def test_a_stream_framed_otherwise_has_the_same_chunks(gateway: httpx.AsyncClient, model: str) -> None:
    *sent, end = data_of((STREAMS / f"{model}.sse").read_bytes())
    if end != b"[DONE]":
        sent.append(end)
    assert await proxied(gateway, model) == b"".join(b"data: " + data + b"\n\n" for data in [*sent, b"[DONE]"])


def data_of(stream: bytes) -> list[bytes]:
    """Line ends within an event become blanks, which JSON does not tell from them."""
    lines = re.split(rb"\r\n|\r|\n", stream.removeprefix("\ufeff".encode()))
    events = [
        [line.removeprefix(b"data:").removeprefix(b" ") for line in event if line.startswith(b"data:")]
        for blank, event in groupby(lines, bool)
        if blank
    ]
    return [b" ".join(event) for event in events if event]


async def test_a_request_is_passed_on_unchanged(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    request = body("m-n2", tools=[WEATHER], n=2, temperature=1, made_up={"by": "the client"}, stream=True)
    await gateway.post("/v1/chat/completions", json=request)
    (asked,) = upstream.asked
    assert asked.body == request
    assert asked.authorization == "Bearer upstream-key"


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
