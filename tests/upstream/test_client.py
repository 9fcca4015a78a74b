import asyncio
import json
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.errors import UpstreamBroken, UpstreamRefused, UpstreamUnreachable
from app.extraction.deltas import decode_delta
from app.upstream import client
from app.upstream.client import Upstream
from tests.upstream.server import EOF_HEAD, HEAD, LAST, Exchange, chunk, serving

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


class Pieces(httpx.AsyncByteStream):
    def __init__(self, pieces: list[bytes | Exception]) -> None:
        self.pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def scripted(*pieces: bytes | Exception, content_type: str = "text/event-stream") -> Upstream:
    """An upstream whose network reads are given."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": content_type}, stream=Pieces(list(pieces)))

    return Upstream("http://upstream.test/v1", transport=httpx.MockTransport(answer))


def refusing(status: int, **response: Any) -> Upstream:
    return Upstream(
        "http://upstream.test/v1", "key", transport=httpx.MockTransport(lambda _: httpx.Response(status, **response))
    )


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


async def test_events_of_one_read_come_as_one_batch() -> None:
    assert await texts(scripted(ONE + ONE + TWO[:9], TWO[9:], b": ping\n\ndata:\n\n", DONE)) == ["aa", "b"]


async def test_nothing_behind_done_is_an_event() -> None:
    assert await texts(scripted(ONE + DONE + TWO, TWO)) == ["a"]
    assert await texts(scripted(ONE + DONE, httpx.ReadError("cut"))) == ["a"]


async def test_a_connection_that_stays_open_behind_done_is_closed() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(HEAD + chunk(ONE + DONE))
        await exchange.wait_closed_by_client()
        closed.set()

    closed = asyncio.Event()
    async with serving(answer) as server, Upstream(server.url) as upstream, asyncio.timeout(5):
        assert await texts(upstream) == ["a"]
        await closed.wait()


@pytest.mark.parametrize("ending", [[TWO], [TWO[:-2]], [TWO[:-2], b"\n"]])
async def test_the_end_of_the_connection_is_an_end_behind_a_finish_reason(ending: list[bytes]) -> None:
    assert "".join(await texts(scripted(ONE, *ending))) == "ab"


@pytest.mark.parametrize("pieces", [[], [b": ping\n\n"], [ONE], [ONE[:-2]], [b"<html></html>"]])
async def test_an_end_without_a_finish_reason_is_a_failure(pieces: list[bytes]) -> None:
    with pytest.raises(UpstreamBroken, match="without a finish reason"):
        await texts(scripted(*pieces))


async def test_an_end_in_the_text_is_no_end() -> None:
    content = json.dumps({"choices": [{"delta": {"content": '"finish_reason": "stop"'}}]}).encode()
    with pytest.raises(UpstreamBroken):
        await texts(scripted(b"data: " + content + b"\n\n"))


async def test_a_cut_behind_the_finish_reason_does_not_matter() -> None:
    assert await texts(scripted(ONE + TWO, httpx.ReadError("cut"))) == ["ab"]


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

    async with serving(answer) as server, Upstream(server.url, idle_timeout_s=0.05) as upstream:
        with pytest.raises(UpstreamBroken, match="stalled"):
            await texts(upstream)


async def test_a_stream_that_is_not_closed_behind_its_finish_reason_is_over() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(HEAD + chunk(ONE + TWO))
        await exchange.wait_closed_by_client()

    async with serving(answer) as server, Upstream(server.url, idle_timeout_s=0.05) as upstream:
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


async def test_a_connect_timeout_is_a_timeout() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("slow")

    with pytest.raises(UpstreamUnreachable) as caught:
        await texts(Upstream("http://upstream.test", transport=httpx.MockTransport(answer)))
    assert caught.value.status == 504


async def test_an_event_without_end_breaks_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sse.decoder.SSEDecoder.__init__.__defaults__", (100,))
    with pytest.raises(UpstreamBroken, match="longer than 100 bytes"):
        await texts(scripted(b"data: " + b"x" * 200))


async def test_a_whole_answer_to_a_stream_request_becomes_one_event() -> None:
    message = {"role": "assistant", "content": "a\nb"}
    answer = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    data = json.dumps(answer, indent=1).encode()
    assert await texts(scripted(data[:30], data[30:], content_type="application/json; charset=utf-8")) == ["a\nb"]


async def test_an_error_as_a_whole_answer_is_an_error() -> None:
    with pytest.raises(UpstreamBroken, match="boom"):
        await texts(scripted(b'{"error": {\n"message": "boom"}}', content_type="application/json"))


async def test_events_under_the_wrong_content_type_are_read() -> None:
    assert await texts(scripted(ONE, TWO, DONE, content_type="application/json")) == ["ab"]


async def test_a_whole_answer_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 10)
    with pytest.raises(UpstreamBroken, match="longer than 10 bytes"):
        await texts(scripted(b"{" * 20, content_type="application/json"))


async def test_refusals_are_raised_before_any_event() -> None:
    error = {"error": {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
    upstream = refusing(429, json=error, headers={"retry-after": "7"})
    for attempt in (texts(upstream), upstream.complete(BODY), upstream.models()):
        with pytest.raises(UpstreamRefused, match="slow down") as caught:
            await attempt
        assert (caught.value.status, caught.value.headers) == (429, {"retry-after": "7"})


async def test_a_refused_key_is_the_clients_only_if_it_is_its_own() -> None:
    upstream = refusing(401, json={"error": {"message": "Incorrect API key provided: key"}})
    with pytest.raises(UpstreamRefused) as ours:
        await upstream.complete(BODY)
    assert (ours.value.status, ours.value.code) == (502, "bad_gateway")
    assert "key provided" not in ours.value.message
    with pytest.raises(UpstreamRefused) as theirs:
        await upstream.complete(BODY, {"Authorization": "Bearer theirs"})
    assert (theirs.value.status, theirs.value.code) == (401, "invalid_api_key")


async def test_a_long_refusal_is_read_in_part() -> None:
    with pytest.raises(UpstreamRefused) as caught:
        await texts(refusing(400, content=b"x" * 10_000_000))
    assert len(caught.value.message) < 10_000


async def test_completions_and_models_are_passed_on() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        sent = request.content.decode() or None
        return httpx.Response(
            200, json={"path": request.url.path, "sent": sent, "key": request.headers["authorization"]}
        )

    upstream = Upstream("http://upstream.test/v1/", "key", transport=httpx.MockTransport(answer))
    assert repr(upstream) == "<Upstream http://upstream.test/v1/>"
    assert await upstream.models() == {"path": "/v1/models", "sent": None, "key": "Bearer key"}
    answer_to = await upstream.complete({"model": "m"}, {"authorization": "Bearer theirs"})
    assert answer_to == {"path": "/v1/chat/completions", "sent": '{"model":"m"}', "key": "Bearer theirs"}


async def test_an_answer_that_is_no_json_is_a_failure() -> None:
    with pytest.raises(UpstreamBroken):
        await scripted(b"<html>").complete(BODY)


async def test_cookies_of_one_client_are_not_sent_for_another() -> None:
    seen: list[bool] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append("cookie" in request.headers)
        return httpx.Response(200, json={}, headers={"set-cookie": "session=1"})

    upstream = Upstream("http://upstream.test/v1", transport=httpx.MockTransport(answer))
    await upstream.models()
    await upstream.models()
    assert seen == [False, False]


@pytest.mark.parametrize("path", sorted(STREAMS.glob("up-openai*.sse")), ids=lambda path: path.stem)
async def test_recorded_streams_over_the_network(path: pathlib.Path) -> None:
    answer = fixed(HEAD + chunk(path.read_bytes()) + LAST)
    async with serving(answer) as server, Upstream(server.url) as upstream, upstream.stream(BODY) as stream:
        deltas = [decode_delta(data) async for batch in stream for data in batch]
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["tool_calls"]
    assert deltas[-1].usage is not None
