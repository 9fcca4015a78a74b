"""What upstreams send instead of what OpenAI sends, from their bytes to the client and the sandbox: rows B2 to B10 of
the reports from the field, and the like. ``D(x)`` is the data of one delta."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import brotli
import pytest

from app.upstream.client import Upstream
from tests.api.served import Served, served
from tests.upstream.server import Exchange, serving

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TOOLS = [{"type": "code_interpreter"}, {"type": "function", "function": {"name": "get", "parameters": {}}}]
CODE = "x = 1\nprint(x)\n"
ARGUMENTS = json.dumps({"code": CODE})
HEAD, TAIL = ARGUMENTS[:14], ARGUMENTS[14:]
DONE = b"data: [DONE]\n\n"
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'


def sse(chunk: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(chunk).encode()


def D(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> bytes:  # noqa: N802 - as in the reports
    return sse({"choices": [{"index": 0, "delta": delta, "finish_reason": finish, **fields}]})


def call(
    arguments: Any = None, *, index: Any = 0, id: Any = None, name: Any = None, finish: str | None = None
) -> bytes:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    given = {key: value for key, value in (("index", index), ("id", id)) if value is not None}
    return D({"tool_calls": [{**given, "function": function}]}, finish)


def answer(body: bytes, *, type: str = "text/event-stream", status: int = 200, extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {type}\r\ncontent-length: {len(body)}\r\n"
    return f"{head}connection: close\r\n{extra}\r\n".encode() + body


SAYS = answer(D({"content": "Done."}) + STOP + DONE)


class Field:
    """The gateway over an upstream that answers by the given bytes, one after the other."""

    def __init__(self, gateway: Served, answers: list[bytes]) -> None:
        self.gateway = gateway
        self.answers = answers
        self.requests: list[dict[str, Any]] = []

    async def send(self, exchange: Exchange) -> None:
        self.requests.append(json.loads(exchange.body))
        await exchange.send(self.answers[min(len(self.requests), len(self.answers)) - 1])

    @property
    def code(self) -> str:
        """All of the model's that ran: the pool tries each sandbox out."""
        done = [done for worker in self.gateway.backend.workers for done in worker.executed]
        return "".join(source for execution in done for source in execution.sources if source != "1 + 1\n")

    async def ask(self, path: str = "chat/completions", **fields: Any) -> tuple[int, dict[str, Any]]:
        given = {"model": "m", "tools": TOOLS, "messages": [{"role": "user", "content": "Go."}], **fields}
        async with self.gateway.http() as http:
            response = await http.post(f"/v1/{path}", json=given)
        return response.status_code, response.json()

    async def message(self, **fields: Any) -> dict[str, Any]:
        status, document = await self.ask(**fields)
        assert status == 200, document
        message: dict[str, Any] = document["choices"][0]["message"]
        return {**message, "finish_reason": document["choices"][0]["finish_reason"]}

    async def chunks(self, **fields: Any) -> list[dict[str, Any]]:
        given = {
            "model": "m",
            "tools": TOOLS,
            "messages": [{"role": "user", "content": "Go."}],
            "stream": True,
            **fields,
        }
        async with self.gateway.http() as http:
            response = await http.post("/v1/chat/completions", json=given)
        if response.status_code != 200:
            return [response.json()]
        lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]


OpenField = Callable[..., Any]


@pytest.fixture
async def field(tmp_path: Path) -> AsyncIterator[OpenField]:
    async with served(tmp_path) as gateway:

        @asynccontextmanager
        async def over(*answers: bytes) -> AsyncIterator[Field]:
            field = Field(gateway, list(answers))
            async with serving(field.send) as server, Upstream(server.url, "key") as upstream:
                gateway.ask(upstream)
                yield field

        yield over


IN_A_CALL = json.dumps({"name": "python", "parameters": {"code": CODE}})
ONE_CALL = {
    "B2, a tail without id or name at another index": call(HEAD, id="c", name="python") + call(TAIL, index=1) + STOP,
    "B2, the id on each fragment": call("", id="c", name="python")
    + b"".join(call(text, index=at + 1, id="c") for at, text in enumerate((HEAD, TAIL)))
    + STOP,
    "B2, a head with the finish reason": call("", id="c", name="python", finish="tool_calls") + call(ARGUMENTS) + STOP,
    "B2, a tail behind the finish reason": call(HEAD, id="c", name="python", finish="stop") + call(TAIL, index=2),
    "B6, again with spaces, at another index": call(ARGUMENTS, id="c", name="python")
    + call(json.dumps(json.loads(ARGUMENTS), indent=2), id="c", name="python", index=1)
    + STOP,
    "B6, again at the same index": call(ARGUMENTS, id="c", name="python") * 2 + STOP,
    **{
        f"B9, {name}": call(ARGUMENTS, id="c", name=name) + STOP
        for name in ("python<|channel|>commentary", "functions.python:0", "default_api.python", "Python")
    },
    "B9, a name in pieces": call(None, id="c", name="py") + call(None, name="thon") + call(ARGUMENTS) + STOP,
    "B10, keep-alives": b"data: null\n\ndata: ping\n\n: x\n\n" + call(ARGUMENTS, id="c", name="python") + STOP,
    "B10, a lower end": call(ARGUMENTS, id="c", name="python") + b"data: [done]\n\n",
    "B10, arguments in arguments": call(json.dumps({"arguments": {"code": CODE}}), id="c", name="python") + STOP,
    "B10, a text of arguments": call(json.dumps({"arguments": ARGUMENTS}), id="c", name="python") + STOP,
    "B10, a call in a call": call(json.dumps({"name": "python", "parameters": {"code": CODE}}), id="c", name="python")
    + STOP,
    "B10, JSON in a fence": call(f"```json\n{ARGUMENTS}\n```", id="c", name="python") + STOP,
    "a bare end": call(ARGUMENTS, id="c", name="python") + DONE,
    "lines without a field": b"".join(
        line.removeprefix(b"data: ") for line in (call(ARGUMENTS, id="c", name="python"), STOP)
    ),
}


@pytest.mark.parametrize("body", ONE_CALL.values(), ids=ONE_CALL.keys())
async def test_a_call_is_run_once_and_whole(field: OpenField, body: bytes) -> None:
    async with field(answer(body), SAYS) as upstream:
        message = await upstream.message()
    assert upstream.code == CODE
    assert (message["content"], message["finish_reason"]) == ("Done.", "stop")
    assert "tool_calls" not in message


MESSAGE = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c", "function": {"name": "python", "arguments": ARGUMENTS}}],
}
WHOLE = json.dumps({"choices": [{"index": 0, "message": MESSAGE, "finish_reason": "tool_calls"}]}).encode()
FRAMED = {
    "JSON": answer(WHOLE, type="application/json"),
    "JSON, indented, without a reason": answer(
        json.dumps({"choices": [{"index": 0, "message": MESSAGE}]}, indent=1).encode(), type="application/json"
    ),
    "JSON under the type of a stream": answer(WHOLE),
    "a stream under the type of JSON": answer(call(ARGUMENTS, id="c", name="python") + STOP, type="application/json"),
    "a stream of bytes": answer(call(ARGUMENTS, id="c", name="python") + STOP, type="application/octet-stream"),
    "a message in the place of a delta": answer(sse({"choices": [{"message": MESSAGE, "finish_reason": None}]}) + STOP),
    "created": answer(call(ARGUMENTS, id="c", name="python") + STOP, status=201),
}


@pytest.mark.parametrize("first", FRAMED.values(), ids=FRAMED.keys())
async def test_an_answer_is_read_by_what_it_holds(field: OpenField, first: bytes) -> None:
    async with field(first, SAYS) as upstream:
        message = await upstream.message()
    assert upstream.code == CODE
    assert message["content"] == "Done."


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_an_answer_may_be_compressed(field: OpenField, encoding: str) -> None:
    packed = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstd.compress}[encoding](
        D({"content": "Hi."}) + STOP
    )
    async with field(answer(packed, extra=f"content-encoding: {encoding}\r\n")) as upstream:
        assert (await upstream.message())["content"] == "Hi."


PART = call('{"code": "x = 1\\nprint(', id="c", name="python")
DIED = "slot died"
#: Each tells ``DIED``.
ERRORS = {
    "field": b'error: {"code": 500, "message": "slot died"}\n\n',
    "bare JSON": b'{"error": {"message": "slot died"}}\n\n',
    "indented bare JSON": json.dumps({"error": {"message": DIED}}, indent=2).encode() + b"\n\n",
    "event": b'event: error\ndata: {"message": "slot died"}\n\n',
    "event with words": b"event: error\ndata: slot died\n\n",
    "choice": D({}, error={"message": DIED, "code": 502}),
    "choice that finishes": D({"content": ""}, "error", error={"message": DIED}),
    "detail": sse({"detail": DIED}),
    "message and code": sse({"message": DIED, "code": "internal"}),
    "old vLLM": sse({"object": "error", "message": DIED, "code": 50001}),
    "Anthropic": sse({"type": "error", "error": {"type": "overloaded_error", "message": DIED}}),
    "Gemini": sse([{"error": {"code": 503, "message": DIED}}]),
    "MiniMax": sse({"choices": None, "base_resp": {"status_code": 1013, "status_msg": DIED}}),
    "Baidu": sse({"error_code": 336, "error_msg": DIED}),
    "text": sse({"error": DIED}),
    "words": b"data: slot died\n\n",
    "HTML": b"<html>\n<head><title>502 slot died</title></head>\n\n<body></body></html>\n\n",
    "HTML as data": b"data: <html><h1>slot died</h1></html>\n\n",
}
SIZE = {"code": 400, "message": "the request exceeds the size", "type": "exceed_context_size_error"}
#: What the client can do something about, and the status and code that tell it so.
ITS_OWN: list[tuple[dict[str, Any], int, str]] = [
    (SIZE, 400, "context_length_exceeded"),
    ({"message": "This model's maximum context length is 4096 tokens.", "code": 500}, 400, "context_length_exceeded"),
    ({"message": "prompt is too long", "type": "invalid_request_error"}, 400, "context_length_exceeded"),
    ({"message": "slow down", "code": 429}, 429, "rate_limit_exceeded"),
    ({"message": "slow down", "type": "rate_limit_error"}, 429, "rate_limit_exceeded"),
    ({"message": "no such model", "code": "404"}, 404, "model_not_found"),
]


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
async def test_an_error_in_a_stream_is_one_and_what_it_cut_off_is_not_run(field: OpenField, error: bytes) -> None:
    """B3."""
    async with field(answer(PART + error + DONE)) as upstream:
        status, document = await upstream.ask()
        *_, last = await upstream.chunks()
        assert len(upstream.requests) == 2
        for told in (document, last):
            assert DIED in told["error"]["message"]
            assert told["error"]["code"] == "bad_gateway"
        assert status == 502
        assert "print" not in upstream.code
        *_, last = await upstream.chunks(tools=None)
        assert DIED in json.dumps(last)


@pytest.mark.parametrize(("error", "status", "code"), ITS_OWN)
async def test_an_error_that_the_client_can_mend_is_told_as_such(
    field: OpenField, error: dict[str, Any], status: int, code: str
) -> None:
    async with field(answer(sse({"error": error}) + DONE)) as upstream:
        for fields in ({}, {"tools": None}, {"path": "responses", "input": "Go.", "tools": None}):
            got, document = await upstream.ask(**fields)
            assert (got, document["error"]["code"]) == (status, code)
            assert document["error"]["message"] == error["message"]


@pytest.mark.parametrize("type", ["application/json", "text/html"])
@pytest.mark.parametrize("body", [json.dumps({"error": SIZE}), '{"detail": "exceeds"}', "<title>It exceeds</title>"])
async def test_an_answer_of_status_200_may_be_an_error(field: OpenField, body: str, type: str) -> None:
    """B10."""
    async with field(answer(body.encode(), type=type)) as upstream:
        for tools in (TOOLS, None):
            status, document = await upstream.ask(tools=tools)
            assert status == (400 if "code" in body else 502)
            assert "exceeds" in document["error"]["message"]


async def test_the_context_is_too_small_by_any_name_in_a_refusal(field: OpenField) -> None:
    error = {"error": {"code": 400, "message": "request (9 tokens) exceeds the available context size (8 tokens)",
                       "type": "exceed_context_size_error", "n_ctx": 8}}  # fmt: skip
    for status in (400, 500):
        async with field(answer(json.dumps(error).encode(), type="application/json", status=status)) as upstream:
            got, document = await upstream.ask()
        assert (got, document["error"]["code"], document["error"]["type"]) == (
            400, "context_length_exceeded", "invalid_request_error",
        )  # fmt: skip


async def test_a_call_that_is_cut_off_by_a_bare_end_is_not_run_to_its_end(field: OpenField) -> None:
    async with field(answer(PART + DONE), SAYS) as upstream:
        message = await upstream.message()
    assert "print" not in upstream.code
    assert message["finish_reason"] == "length"
    assert len(upstream.requests) == 1


def pieces(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pieces of calls that were shown."""
    return [piece for chunk in chunks for piece in chunk["choices"][0]["delta"].get("tool_calls", ())]


async def test_a_client_is_never_shown_a_call_without_a_name(field: OpenField) -> None:
    named = call('{"a"', id="c", name="get") + call(":1}", index=1) + call("", index=2) + STOP + DONE
    async with field(answer(named)) as upstream:
        shown = [
            piece for chunk in await upstream.chunks() for piece in chunk["choices"][0]["delta"].get("tool_calls", ())
        ]
    assert [piece["function"].get("name") for piece in shown if "id" in piece] == ["get"]
    assert "".join(piece["function"]["arguments"] for piece in shown) == '{"a":1}'
    async with field(answer(call('{"a":1}', id="c") + STOP)) as upstream:
        status, document = await upstream.ask()
    assert (status, document["error"]["message"]) == (502, "the upstream called a tool without naming it")


async def test_custom_tools_are_passed_through(field: OpenField) -> None:
    """B5."""
    custom = [{"type": "custom", "custom": {"name": "patch", "description": "x"}}]
    sent = [
        {"index": 0, "id": "c", "type": "custom", "custom": {"name": "patch", "input": "*** "}},
        {"index": 0, "custom": {"input": '{"Begin"}'}},
    ]
    body = b"".join(D({"tool_calls": [piece]}) for piece in sent) + STOP
    async with field(answer(body)) as upstream:
        message = await upstream.message(tools=[*TOOLS, *custom])
        assert custom[0] in upstream.requests[0]["tools"]
        chunks = await upstream.chunks(tools=[*TOOLS, *custom])
    assert message["tool_calls"] == [
        {"id": "c", "type": "custom", "custom": {"name": "patch", "input": '*** {"Begin"}'}}
    ]
    assert message["finish_reason"] == "tool_calls"
    shown = [piece for chunk in chunks for piece in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert (shown[0]["custom"]["name"], "".join(piece["custom"]["input"] for piece in shown)) == (
        "patch",
        '*** {"Begin"}',
    )


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CITATION = {"type": "url_citation", "url_citation": {"url": "http://x", "title": "X", "start_index": 0, "end_index": 1}}
BESIDE: list[dict[str, Any]] = [
    {"content": "a", "images": [IMAGE]},
    {"annotations": [CITATION]},
    {"audio": {"id": "au", "data": "AA"}},
    {"audio": {"data": "BB"}, "vendor": {"x": 1}},
    {"content": [IMAGE, {"type": "text", "text": "b"}]},
]


async def test_what_stands_beside_code_is_passed_through(field: OpenField) -> None:
    """B8."""
    body = b"".join(map(D, BESIDE)) + STOP
    async with field(answer(body)) as upstream:
        message = await upstream.message()
        deltas = [chunk["choices"][0]["delta"] for chunk in await upstream.chunks()]
        _, response = await upstream.ask("responses", input="Go.", tools=[TOOLS[0]])
    assert message["content"] == "ab"
    assert message["images"] == [IMAGE, IMAGE]
    assert message["annotations"] == [CITATION]
    assert message["audio"] == {"id": "au", "data": "AABB"}
    assert message["vendor"] == {"x": 1}
    assert {"images": [IMAGE]} in deltas
    assert {"annotations": [CITATION]} in deltas
    assert {"audio": {"data": "BB"}, "vendor": {"x": 1}} in deltas
    images = [item for item in response["output"] if item["type"] == "image_generation_call"]
    assert [image["result"] for image in images] == ["AAAA", "AAAA"]
    said = [item for item in response["output"] if item["type"] == "message"]
    assert "".join(item["content"][0]["text"] for item in said) == "ab"
    cited = {"type": "url_citation", **CITATION["url_citation"]}
    assert [note for item in said for note in item["content"][0]["annotations"]] == [cited]
    assert {"audio": {"id": "au", "data": "AABB"}, "vendor": {"x": 1}}.items() <= said[-1].items()


async def test_a_stream_that_nobody_asked_for_is_put_together(field: OpenField) -> None:
    """B7."""
    body = (
        D({"role": "assistant", "content": "a", "vendor": "x"})
        + D({"content": "b", "reasoning_content": "r"})
        + call('{"a"', id="c", name="get")
        + call(":1}")
        + STOP
        + sse({"choices": [], "usage": {"total_tokens": 3}})
        + DONE
    )
    async with field(answer(body)) as upstream:
        status, document = await upstream.ask(tools=None)
    assert status == 200
    assert upstream.requests[0].get("stream") in (None, False)
    [choice] = document["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": "ab",
        "vendor": "x",
        "reasoning_content": "r",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "get", "arguments": '{"a":1}'}}],
    }
    assert (choice["finish_reason"], document["object"], document["usage"]) == (
        "stop",
        "chat.completion",
        {"total_tokens": 3},
    )
    async with field(answer(D({"content": "a"}) + ERRORS["event"])) as upstream:
        status, document = await upstream.ask(tools=None)
    assert (status, document["error"]["message"]) == (502, "the upstream failed: slot died")


async def test_a_refused_stream_is_asked_for_as_the_client_has_asked(field: OpenField) -> None:
    refused = {"error": {"message": "Your organization must be verified to stream this model.", "param": "stream"}}
    refusal = answer(json.dumps(refused).encode(), type="application/json", status=400)
    async with field(refusal, answer(WHOLE, type="application/json"), SAYS) as upstream:
        message = await upstream.message()
        assert [request.get("stream") for request in upstream.requests] == [True, None, None]
    assert (message["content"], upstream.code) == ("Done.", CODE)
    async with field(refusal) as upstream:
        [told] = await upstream.chunks()
        assert len(upstream.requests) == 1
    assert told["error"]["param"] == "stream"


async def test_a_request_whose_stream_options_are_not_known_goes_without(field: OpenField) -> None:
    refused = answer(b'{"detail": "stream_options: extra fields not permitted"}', type="application/json", status=422)
    async with field(refused, SAYS) as upstream:
        assert (await upstream.message())["content"] == "Done."
    assert ["stream_options" in request for request in upstream.requests] == [True, False]


BESIDE_DELTAS = {"citations": ["https://a.example"], "service_tier": "flex", "x_groq": {"id": "r"}}


@pytest.mark.parametrize("whole", [False, True])
async def test_what_stands_beside_deltas_reaches_the_client_beside_a_code_tool(field: OpenField, whole: bool) -> None:
    told = {"index": 0, "finish_reason": "stop", "stop_reason": 7}
    last = {**told, "message": {"role": "assistant", "content": "Done."}} if whole else {**told, "delta": {}}
    body = json.dumps({"choices": [last], **BESIDE_DELTAS}).encode() if whole else D({"content": "Done."})
    final = (
        answer(body, type="application/json")
        if whole
        else answer(body + sse({"choices": [last], **BESIDE_DELTAS}) + DONE)
    )
    async with field(answer(call(ARGUMENTS, id="c", name="python") + STOP + DONE), final) as upstream:
        status, document = await upstream.ask()
        assert (status, upstream.code) == (200, CODE)
        assert {name: document[name] for name in BESIDE_DELTAS} == BESIDE_DELTAS
        assert document["choices"][0]["stop_reason"] == 7
    async with field(final) as upstream:
        chunks = await upstream.chunks()
        (carrier,) = [chunk for chunk in chunks if "citations" in chunk]
        assert {name: carrier[name] for name in BESIDE_DELTAS} == BESIDE_DELTAS
        assert carrier["choices"][0]["stop_reason"] == 7
        assert carrier["choices"][0]["finish_reason"] == "stop"
    async with field(final) as upstream:
        status, document = await upstream.ask("responses", input="Go.", tools=[], messages=None)
        assert status == 200
        assert {name: document[name] for name in BESIDE_DELTAS} == BESIDE_DELTAS
