import asyncio
import json
import pathlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.errors import UpstreamBroken, UpstreamRefused, UpstreamUnreachable
from app.extraction.deltas import decode_delta
from app.upstream.client import Upstream
from tests.upstream.server import EOF_HEAD, HEAD, LAST, Exchange, Server, chunk, serving

BODY = {"model": "m", "messages": [], "stream": True}
ONE = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
TWO = b'data: {"choices":[{"index":0,"delta":{"content":"b"},"finish_reason": "stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
STREAMS = pathlib.Path(__file__).parent.parent / "streams"


async def texts(upstream: Upstream) -> list[str]:
    """The texts of a completion, a string per batch."""
    async with upstream.stream(BODY) as batches:
        return ["".join(decode_delta(data).content for data in batch) async for batch in batches]


def fixed(data: bytes) -> Any:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(data)

    return answer


def whole(status: int, body: bytes, *headers: bytes) -> bytes:
    """An answer that is no stream."""
    lines = [b"HTTP/1.1 %d Said" % status, b"content-length: %d" % len(body), b"connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[Upstream, Server]]:
    """An upstream that gives every request this answer."""
    async with serving(fixed(answer)) as server, Upstream(server.url, "key") as upstream:
        yield upstream, server


async def test_a_stream_is_read_to_its_end_and_the_connection_is_used_again() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(HEAD + chunk(ONE) + chunk(TWO + DONE))
        await exchange.send(LAST)
        await exchange.reader.readuntil(b"\r\n\r\n")
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")

    async with serving(answer) as server, Upstream(server.url, "secret") as upstream:
        assert "".join(await texts(upstream)) == "ab"
        assert await upstream.models() == []
    assert len(server.exchanges) == 1
    head = server.exchanges[0].head.lower()
    assert head.startswith(b"post /v1/chat/completions http/1.1\r\n")
    assert b"authorization: bearer secret\r\n" in head
    assert b"accept-encoding: identity\r\n" in head
    assert json.loads(server.exchanges[0].body) == BODY


KEY = "sk-upstream-1234"


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_a_refusal_does_not_tell_our_key(status: int) -> None:
    error = {"message": f"no quota for {KEY}", "code": f"quota_{KEY}"}
    async with (
        serving(fixed(whole(status, json.dumps({"error": error}).encode()))) as server,
        Upstream(server.url, KEY) as upstream,
    ):
        with pytest.raises(UpstreamRefused) as caught:
            await texts(upstream)
    assert "no quota for [key]" in caught.value.message
    assert KEY not in f"{caught.value.message} {caught.value.code}"


@pytest.mark.parametrize("key", [KEY, "EMPTY"])
async def test_an_error_in_an_answer_does_not_tell_our_key_and_what_the_model_says_is_left_alone(key: str) -> None:
    said = {"choices": [{"delta": {"content": f'"error": {key}'}, "finish_reason": None}]}
    error = {"error": {"message": f"{key} has expired"}}
    stream = HEAD + chunk(b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in (said, error))) + LAST
    async with (
        serving(fixed(stream)) as server,
        Upstream(server.url, key) as upstream,
        upstream.stream(BODY) as batches,
    ):
        [first, second] = await anext(batches)
    assert decode_delta(first).content == f'"error": {key}'
    with pytest.raises(UpstreamBroken, match=r"\[key\] has expired" if key == KEY else "EMPTY has expired"):
        decode_delta(second)
    async with serving(fixed(whole(200, json.dumps(error).encode()))) as server, Upstream(server.url, KEY) as upstream:
        with pytest.raises(UpstreamBroken, match="has expired") as broken:
            await upstream.complete(BODY)
    assert KEY not in broken.value.message


async def test_a_kept_connection_that_the_server_closes_is_replaced() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(HEAD + chunk(TWO + DONE))
        await exchange.send(LAST)
        if len(server.exchanges) == 1:
            await exchange.reader.readuntil(b"\r\n\r\n")  # and it goes away without an answer

    async with serving(answer) as server, Upstream(server.url) as upstream:
        assert await texts(upstream) == ["b"]
        assert await texts(upstream) == ["b"]
    assert len(server.exchanges) == 2


async def test_a_connection_that_stays_open_behind_done_is_closed() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(HEAD + chunk(ONE + DONE))
        await exchange.wait_closed_by_client()
        closed.set()

    closed = asyncio.Event()
    async with serving(answer) as server, Upstream(server.url) as upstream, asyncio.timeout(5):
        assert await texts(upstream) == ["a"]
        await closed.wait()


@pytest.mark.parametrize("head", [HEAD + chunk(ONE), EOF_HEAD + ONE])
async def test_a_cut_connection_breaks_the_stream_after_what_came(head: bytes) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(head)
        await received.wait()
        exchange.cut()

    received = asyncio.Event()
    async with serving(answer) as server, Upstream(server.url) as upstream, upstream.stream(BODY) as stream:
        assert len(await anext(stream)) == 1
        received.set()
        with pytest.raises(UpstreamBroken):
            await anext(stream)


async def test_leaving_the_context_closes_the_connection_at_once() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(HEAD + chunk(ONE))
        await exchange.wait_closed_by_client()
        closed.set()

    closed = asyncio.Event()
    async with serving(answer) as server, Upstream(server.url) as upstream:
        async with upstream.stream(BODY) as stream:
            async for _ in stream:
                break
        async with asyncio.timeout(5):
            await closed.wait()


async def test_cancelling_a_read_closes_the_connection_at_once() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(HEAD + chunk(ONE))
        await exchange.wait_closed_by_client()
        closed.set()

    async def read() -> None:
        async with upstream.stream(BODY) as stream:
            async for _ in stream:
                received.set()

    closed, received = asyncio.Event(), asyncio.Event()
    async with serving(answer) as server, Upstream(server.url) as upstream, asyncio.timeout(5):
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(read())
            await received.wait()
            reading.cancel()
        await closed.wait()


@pytest.mark.parametrize("head", [b"", HEAD])
async def test_no_first_byte_in_time_is_a_gateway_timeout(head: bytes) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(head)
        await exchange.wait_closed_by_client()

    async with serving(answer) as server, Upstream(server.url, first_byte_timeout_s=0.05) as upstream:
        with pytest.raises(UpstreamUnreachable) as caught:
            await texts(upstream)
    assert (caught.value.status, caught.value.code) == (504, "gateway_timeout")


async def test_a_silent_stream_has_stalled() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(HEAD + chunk(ONE))
        await exchange.wait_closed_by_client()

    async with serving(answer) as server, Upstream(server.url, first_byte_timeout_s=5, idle_timeout_s=0.05) as upstream:
        with pytest.raises(UpstreamBroken, match="stalled"):
            await texts(upstream)


async def test_a_stream_that_is_not_closed_behind_its_finish_reason_is_over() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(HEAD + chunk(ONE + TWO))
        await exchange.wait_closed_by_client()

    async with serving(answer) as server, Upstream(server.url, first_byte_timeout_s=5, idle_timeout_s=0.05) as upstream:
        assert await texts(upstream) == ["ab"]


async def test_nobody_listens() -> None:
    async with serving(fixed(b"")) as server:
        pass
    async with Upstream(server.url) as upstream:
        with pytest.raises(UpstreamUnreachable) as caught:
            await texts(upstream)
    assert caught.value.status == 502


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", b"nonsense\r\n\r\n"])
async def test_an_answer_that_is_no_http_is_unreachable(answer: bytes) -> None:
    async with serving(fixed(answer)) as server, Upstream(server.url) as upstream:
        with pytest.raises(UpstreamUnreachable) as caught:
            await texts(upstream)
    assert caught.value.status == 502


async def test_a_connection_that_is_not_made_in_time_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        port = listener.getsockname()[1]
        others = [socket.socket() for _ in range(4)]
        try:
            for other in others:  # the line of a server that accepts nobody: who comes next is not answered
                other.setblocking(False)
                other.connect_ex(("127.0.0.1", port))
            async with Upstream(f"http://127.0.0.1:{port}", connect_timeout_s=0.05) as upstream:
                with pytest.raises(UpstreamUnreachable) as caught:
                    await texts(upstream)
        finally:
            for other in others:
                other.close()
    assert caught.value.status == 504


@pytest.mark.parametrize("type", [b"application/json; charset=utf-8", b"Application/JSON", b"text/plain", b""])
async def test_a_whole_answer_to_a_stream_request_is_read_as_one(type: bytes) -> None:
    message = {"role": "assistant", "content": "a\nb"}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    async with answering(whole(200, json.dumps(answer).encode(), b"content-type: " + type)) as (upstream, _):
        assert await texts(upstream) == ["a\nb"]


async def test_refusals_are_raised_before_any_event() -> None:
    error = {"error": {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
    async with answering(whole(429, json.dumps(error).encode(), b"Retry-After: 7")) as (upstream, _):
        for attempt in (texts(upstream), upstream.complete(BODY), upstream.models()):
            with pytest.raises(UpstreamRefused, match="slow down") as caught:
                await attempt
            assert (caught.value.status, caught.value.headers) == (429, {"retry-after": "7"})


async def test_a_redirect_is_not_followed() -> None:
    async with answering(whole(307, b"", b"location: http://127.0.0.1:1/")) as (upstream, server):
        with pytest.raises(UpstreamRefused) as caught:
            await texts(upstream)
        assert caught.value.status == 502
    assert len(server.exchanges) == 1


async def test_a_refused_key_is_the_clients_only_if_it_is_its_own() -> None:
    error = {"error": {"message": "Incorrect API key provided: key"}}
    async with answering(whole(401, json.dumps(error).encode())) as (upstream, _):
        with pytest.raises(UpstreamRefused) as ours:
            await upstream.complete(BODY)
        assert (ours.value.status, ours.value.code) == (502, "bad_gateway")
        assert "key provided" not in ours.value.message
        with pytest.raises(UpstreamRefused) as theirs:
            await upstream.complete(BODY, {"Authorization": "Bearer theirs"})
        assert (theirs.value.status, theirs.value.code) == (401, "invalid_api_key")


async def test_a_long_refusal_is_read_in_part() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 400 Bad\r\ncontent-length: 10000000\r\n\r\n" + b"x" * 100_000)
        await exchange.reader.read()  # the rest is never sent, and not waited for

    async with serving(answer) as server, Upstream(server.url) as upstream, asyncio.timeout(10):
        with pytest.raises(UpstreamRefused) as caught:
            await texts(upstream)
    assert len(caught.value.message) < 10_000


async def test_completions_and_models_are_passed_on() -> None:
    async with answering(whole(200, b'{"passed": "on"}')) as (upstream, server):
        assert repr(upstream) == f"<Upstream {server.url}/>"
        assert await upstream.models() == {"passed": "on"}
        assert await upstream.complete({"model": "é"}, {"authorization": "Bearer theirs"}) == {"passed": "on"}
    models, completion = server.exchanges
    assert models.head.startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert b"authorization: Bearer key\r\n" in models.head
    assert models.body == b""
    assert completion.head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert completion.head.lower().count(b"authorization:") == 1
    assert b"authorization: Bearer theirs\r\n" in completion.head
    assert b"content-type: application/json\r\n" in completion.head
    assert completion.body == '{"model":"é"}'.encode()


async def test_an_answer_that_is_no_json_is_a_failure() -> None:
    async with answering(whole(200, b"<html>")) as (upstream, _):
        with pytest.raises(UpstreamBroken):
            await upstream.complete(BODY)


async def test_an_answer_in_one_piece_may_take_its_time_once_it_has_begun() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\n")
        await asyncio.sleep(first_byte_timeout_s + 0.1)
        await exchange.send(b"{}")

    first_byte_timeout_s = 2.0
    async with (
        serving(answer) as server,
        Upstream(server.url, first_byte_timeout_s=first_byte_timeout_s, idle_timeout_s=60) as upstream,
    ):
        assert await upstream.complete(BODY) == {}


@pytest.mark.parametrize("cut", [False, True])
async def test_an_answer_in_one_piece_that_does_not_go_on_is_broken(cut: bool) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{")
        if not cut:
            await exchange.wait_closed_by_client()

    async with serving(answer) as server, Upstream(server.url, first_byte_timeout_s=5, idle_timeout_s=0.05) as upstream:
        with pytest.raises(UpstreamBroken, match="broke off"):
            await upstream.complete(BODY)


async def test_cookies_of_one_client_are_not_sent_for_another() -> None:
    async with answering(whole(200, b"{}", b"set-cookie: session=1")) as (upstream, server):
        await upstream.models()
        await upstream.models()
    assert [b"cookie" in exchange.head.lower() for exchange in server.exchanges] == [False, False]


@pytest.mark.parametrize("path", sorted(STREAMS.glob("up-openai*.sse")), ids=lambda path: path.stem)
async def test_recorded_streams_over_the_network(path: pathlib.Path) -> None:
    answer = fixed(HEAD + chunk(path.read_bytes()) + LAST)
    async with serving(answer) as server, Upstream(server.url) as upstream, upstream.stream(BODY) as stream:
        deltas = [decode_delta(data) async for batch in stream for data in batch]
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["tool_calls"]
    assert deltas[-1].usage is not None


async def test_a_limit_of_tokens_gets_the_name_that_the_model_knows() -> None:
    error = {
        "message": "Unsupported parameter: 'max_tokens' ... Use 'max_completion_tokens' instead.",
        "param": "max_tokens",
    }

    async def answer(exchange: Exchange) -> None:
        if "max_tokens" in json.loads(exchange.body):
            await exchange.send(whole(400, json.dumps({"error": error}).encode()))
        else:
            await exchange.send(EOF_HEAD + ONE + TWO + DONE)

    async with (
        serving(answer) as server,
        Upstream(server.url, "key") as upstream,
        upstream.stream({**BODY, "max_tokens": 100}) as batches,
    ):
        assert [decode_delta(data).content async for batch in batches for data in batch] == ["a", "b"]
    assert [json.loads(exchange.body) for exchange in server.exchanges] == [
        {**BODY, "max_tokens": 100},
        {**BODY, "max_completion_tokens": 100},
    ]


@pytest.mark.parametrize("limits", [{"max_tokens": 9, "max_completion_tokens": 9}, {"max_completion_tokens": 9}, {}])
async def test_a_limit_of_another_name_is_refused_as_it_is(limits: dict[str, int]) -> None:
    refusing = whole(400, b'{"error": {"message": "max_tokens and max_completion_tokens: no"}}')
    async with answering(refusing) as (upstream, server):
        with pytest.raises(UpstreamRefused, match="no"):
            await upstream.complete({**BODY, **limits})
    assert len(server.exchanges) == 1
