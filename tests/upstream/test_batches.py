"""One answer, from scripted network reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from app.errors import UpstreamBroken, UpstreamUnreachable
from app.extraction.deltas import decode_delta
from app.upstream import batches
from app.upstream.allowance import AnswerLimits
from app.upstream.batches import EventBatches

ONE = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
TWO = b'data: {"choices":[{"index":0,"delta":{"content":"b"},"finish_reason": "stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
CUT = aiohttp.ClientPayloadError("cut")
SILENCE = b"silence"


class Script:
    """A connection whose reads are given. A ``SILENCE`` lasts until the connection is closed, a function is called."""

    def __init__(self, *pieces: bytes | Exception | Callable[[], None]) -> None:
        self.pieces = list(pieces)
        self.closed = asyncio.Event()

    async def read(self) -> bytes:
        while self.pieces and callable(self.pieces[0]):
            self.pieces.pop(0)()  # type: ignore[operator]
        piece = self.pieces.pop(0) if self.pieces else b""
        if piece is SILENCE:
            await self.closed.wait()
            raise aiohttp.ClientConnectionError("closed")
        if isinstance(piece, Exception):
            raise piece
        assert isinstance(piece, bytes)
        return piece

    def close(self) -> None:
        self.closed.set()


def reading(
    script: Script,
    *,
    is_json: bool = False,
    first_byte_s: float = 60,
    idle_s: float = 60,
    limits: AnswerLimits | None = None,
) -> EventBatches:
    deadline = asyncio.get_running_loop().time() + first_byte_s
    return EventBatches(script, is_json=is_json, deadline=deadline, idle_timeout_s=idle_s, limits=limits)


async def texts(*pieces: bytes | Exception | Callable[[], None], **options: Any) -> list[str]:
    """The texts of an answer, a string per batch."""
    script = Script(*pieces)
    stream = reading(script, **options)
    try:
        return ["".join(decode_delta(data).content for data in batch) async for batch in stream]
    finally:
        await stream.aclose()
        assert script.closed.is_set()


async def test_events_of_one_read_come_as_one_batch() -> None:
    assert await texts(ONE + ONE + TWO[:9], TWO[9:], b": ping\n\ndata:\n\n", DONE) == ["aa", "b"]


async def test_nothing_behind_done_is_an_event() -> None:
    assert await texts(ONE + DONE + TWO, TWO) == ["a"]
    assert await texts(ONE + DONE, CUT) == ["a"]


async def test_an_end_behind_done_that_does_not_come_is_not_waited_for_long() -> None:
    async with asyncio.timeout(10):
        assert await texts(ONE + DONE, SILENCE) == ["a"]


@pytest.mark.parametrize("none", [b'""', b'"null"'])
async def test_a_finish_reason_that_says_nothing_is_none(none: bytes) -> None:
    with pytest.raises(UpstreamBroken, match="without a finish reason"):
        await texts(ONE.replace(b"null", none))
    with pytest.raises(UpstreamBroken, match="cut the connection"):
        await texts(ONE.replace(b"null", none), CUT)
    assert await texts(ONE.replace(b"null", none), TWO) == ["a", "b"]


@pytest.mark.parametrize("ending", [[TWO], [TWO[:-2]], [TWO[:-2], b"\n"]])
async def test_the_end_of_the_connection_is_an_end_behind_a_finish_reason(ending: list[bytes]) -> None:
    assert "".join(await texts(ONE, *ending)) == "ab"


@pytest.mark.parametrize("pieces", [[], [b": ping\n\n"], [ONE], [ONE[:-2]], [b"<html></html>"]])
async def test_an_end_without_a_finish_reason_is_a_failure(pieces: list[bytes]) -> None:
    with pytest.raises(UpstreamBroken, match="without a finish reason"):
        await texts(*pieces)


async def test_an_end_in_the_text_is_no_end() -> None:
    content = json.dumps({"choices": [{"delta": {"content": '"finish_reason": "stop"'}}]}).encode()
    with pytest.raises(UpstreamBroken):
        await texts(b"data: " + content + b"\n\n")


@pytest.mark.parametrize("cut", [CUT, ConnectionResetError()])
async def test_a_cut_behind_the_finish_reason_does_not_matter(cut: Exception) -> None:
    assert await texts(ONE + TWO, cut) == ["ab"]


@pytest.mark.parametrize("cut", [CUT, ConnectionResetError()])
async def test_a_cut_before_it_breaks_the_stream(cut: Exception) -> None:
    with pytest.raises(UpstreamBroken, match="cut the connection"):
        await texts(ONE, cut)


async def test_a_first_byte_that_does_not_come_is_a_gateway_timeout() -> None:
    with pytest.raises(UpstreamUnreachable) as caught:
        await texts(SILENCE, first_byte_s=0.01)
    assert caught.value.status == 504


async def test_a_silent_stream_has_stalled() -> None:
    with pytest.raises(UpstreamBroken, match="stalled"):
        await texts(ONE, SILENCE, idle_s=0.01)


async def test_a_silence_behind_the_finish_reason_is_the_end() -> None:
    assert await texts(ONE + TWO, SILENCE, idle_s=0.01) == ["ab"]


async def test_each_read_has_the_whole_time() -> None:
    """The watch is due while the second read waits, which has begun just before: it must come back later."""
    stream = reading(script := Script(ONE, SILENCE), idle_s=60)
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    stream._silence._look()
    assert not script.closed.is_set()
    script.close()
    with pytest.raises(UpstreamBroken, match="cut"):
        await waiting
    await stream.aclose()


async def test_the_time_between_reads_is_the_readers() -> None:
    """A slow client holds generation up for longer than the upstream may be silent."""
    stream = reading(script := Script(ONE, TWO), idle_s=0)
    await anext(stream)
    stream._silence._look()
    assert not script.closed.is_set()
    assert len(await anext(stream)) == 1
    await stream.aclose()


async def test_an_event_without_end_breaks_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sse.decoder.SSEDecoder.__init__.__defaults__", (100,))
    with pytest.raises(UpstreamBroken, match="longer than 100 bytes"):
        await texts(b"data: " + b"x" * 200)


async def test_a_whole_answer_to_a_stream_request_becomes_one_event() -> None:
    message = {"role": "assistant", "content": "a\nb"}
    answer = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    data = json.dumps(answer, indent=1).encode()
    assert await texts(data[:30], data[30:], is_json=True) == ["a\nb"]


async def test_an_error_as_a_whole_answer_is_an_error() -> None:
    with pytest.raises(UpstreamBroken, match="boom"):
        await texts(b'{"error": {\n"message": "boom"}}', is_json=True)


async def test_events_under_the_wrong_content_type_are_read() -> None:
    assert await texts(ONE, TWO, DONE, is_json=True) == ["a", "b"]


async def test_a_whole_answer_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_ANSWER_BYTES", 10)
    with pytest.raises(UpstreamBroken, match="longer than 10 bytes"):
        await texts(b"{" * 20, is_json=True)


@pytest.mark.parametrize("piece", [ONE, b": keep-alive\n\n", b"\n" * 50, b'data: {"choices":[]}\n\n'])
async def test_an_answer_without_end_is_ended(piece: bytes) -> None:
    with pytest.raises(UpstreamBroken, match="longer than 5000 bytes"):
        await texts(*[piece] * 500, limits=AnswerLimits(bytes=5_000))


async def test_an_answer_of_too_many_events_is_ended() -> None:
    with pytest.raises(UpstreamBroken, match="more than 20 events"):
        await texts(*[ONE] * 21, limits=AnswerLimits(events=20))


async def test_what_has_arrived_at_once_is_handed_on_in_steps_and_others_come_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "STEP_BYTES", len(ONE))
    came_in = 0

    async def other() -> None:
        nonlocal came_in
        while True:
            came_in += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    read = [batch async for batch in reading(Script(ONE * 20 + TWO + DONE))]
    beside.cancel()
    assert [len(batch) for batch in read] == [1] * 21
    assert came_in >= 20
