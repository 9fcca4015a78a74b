import json

import pytest

from app.sse.decoder import BARE
from app.upstream.odd_events import events_in, is_end, is_stream, understood

CHUNK = '{"choices":[{"index":0,"delta":{"content":"a"}}]}'


@pytest.mark.parametrize("data", ["[DONE]", "[done]", '"[DONE]"', " [DONE] ", "DONE", "[DONE] and more"])
def test_the_end_has_many_forms(data: str) -> None:
    assert is_end(data)


@pytest.mark.parametrize("data", [CHUNK, "", "null", "[]", '{"content": "[DONE]"}', "done with all of the work"])
def test_anything_else_is_no_end(data: str) -> None:
    assert not is_end(data)


@pytest.mark.parametrize("data", ["", "null", "{}", "[]", '""', "ping", '"ping"', "keep-alive", "HEARTBEAT"])
def test_keep_alives_are_nothing(data: str) -> None:
    assert understood(data, None) == ""


@pytest.mark.parametrize(
    "data", [CHUNK, '{"type":"ping"}', '{"choices":[],"usage":{"total_tokens":1}}', "3", "{broken"]
)
def test_what_is_no_error_is_left_as_it_is(data: str) -> None:
    assert understood(data, None) == data
    assert understood(data, "message") == data


def test_words_of_an_error_are_kept() -> None:
    for data, event in (
        ('"Oh."', None),
        ("Oh.", "error"),
        ('"Oh."', "exception"),
        ('{"x": 1, "message": "Oh."}', None),
    ):
        assert json.loads(understood(data, event))["error"]["message"] == "Oh."
    assert "HTML" in json.loads(understood("<html>", BARE))["error"]["message"]


def test_an_event_that_is_named_an_error_and_is_a_chunk_is_one() -> None:
    assert understood(CHUNK, "error") == CHUNK


def test_a_document_ends_the_answer_and_a_message_in_a_stream_does_not() -> None:
    data = '{"choices": [{"message": {"content": "a"}}]}'
    assert json.loads(understood(data, BARE))["choices"] == [{"delta": {"content": "a"}, "finish_reason": "stop"}]
    assert json.loads(understood(data, None))["choices"] == [{"delta": {"content": "a"}}]


def test_a_body_is_a_stream_if_it_begins_as_one() -> None:
    for body in (b"data: x", b"\xef\xbb\xbf\n: ping\n", b"event: x", b"id: 1"):
        assert is_stream(body)
    for body in (b'{"data": 1}', b"", b"dat"):
        assert not is_stream(body)
    body = f": ping\n\ndata: {CHUNK}\n\ndata: null\n\ndata: [done]\n\ndata: {CHUNK}\n\n".encode()
    assert list(events_in(body)) == [CHUNK]
