import itertools
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sse.decoder import BARE, EventTooLarge, ServerSentEvent, SSEDecoder

STREAMS = sorted((pathlib.Path(__file__).parent.parent / "streams").glob("*.sse"))


def decode(fragments: list[bytes]) -> list[ServerSentEvent]:
    decoder = SSEDecoder()
    return decode_all(decoder, fragments) + decoder.flush()


def decode_all(decoder: SSEDecoder, fragments: list[bytes]) -> list[ServerSentEvent]:
    return [event for fragment in fragments for event in decoder.feed(fragment)]


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


CASES = [
    (b"data: a\n\ndata: b\n\n", [(None, "a"), (None, "b")]),
    (b"data: a\r\n\r\ndata: b\r\n\r\n", [(None, "a"), (None, "b")]),
    (b"data: a\r\rdata: b\r\r", [(None, "a"), (None, "b")]),
    (b"data: a\r\n\ndata: b\n\r\n", [(None, "a"), (None, "b")]),
    (b"\xef\xbb\xbfdata: a\n\n", [(None, "a")]),
    (b"data:a\n\n", [(None, "a")]),
    (b"data:  a\n\n", [(None, " a")]),
    (b"data: a\ndata: b\n\n", [(None, "a\nb")]),
    (b"data\n\n", [(None, "")]),
    (b"data: \n\n", [(None, "")]),
    (b": comment\n\ndata: a\n: comment\n\n", [(None, "a")]),
    (b"event: ping\n\ndata: a\n\n", [(None, "a")]),
    (b"event: error\ndata: a\nid: 3\nretry: 5\n\ndata: b\n\n", [("error", "a"), (None, "b")]),
    (b"data: without a blank line", [(None, "without a blank line")]),
    (b"data: a\n\n\n\ndata: b\n", [(None, "a"), (None, "b")]),
    ("data: é😀\u2028\u2029\x85\n\n".encode(), [(None, "é😀\u2028\u2029\x85")]),
    (b"data: \xff\n\n", [(None, "\ufffd")]),
    (b"database: x\n\n", []),
    (b"", []),
    (b"error: a\n\n", [("error", "a")]),
    (b"data: a\nerror: b\n\ndata: c\n\n", [(None, "a"), ("error", "b"), (None, "c")]),
    (b'{"a": 1}\n{"b": 2}\ndata: c\n\n', [(BARE, '{"a": 1}'), (BARE, '{"b": 2}'), (None, "c")]),
    (b'data: a\n{"b": 2}\n', [(None, "a"), (BARE, '{"b": 2}')]),
    (b'{\n"a": {\n}\n}\n\ndata: b\n\n', [(BARE, '{\n"a": {\n}\n}'), (None, "b")]),
    (b'{\n"a": 1\n}\nevent: x\ndata: b\n\n', [(BARE, '{\n"a": 1\n}'), ("x", "b")]),
    (b"<html>\n\n<p>a: b\n\n</html>\ndata: c\n\n", [(BARE, "<html>\n<p>a: b\n</html>"), (None, "c")]),
    (b"[\n1]", [(BARE, "[\n1]")]),
    (b"id: 1\nretry: 2\nwords\n\n", []),
]


@pytest.mark.parametrize(("data", "expected"), CASES)
def test_events_are_the_same_for_any_cut(data: bytes, expected: list[tuple[str | None, str]]) -> None:
    for size in (1, 2, 3, 5, 1000):
        assert decode(cut(data, size)) == expected


@given(st.sampled_from([path.read_bytes() for path in STREAMS]), st.lists(st.integers(0, 20_000), max_size=30))
def test_recorded_streams_are_the_same_for_any_cut(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    assert decode([data[a:b] for a, b in itertools.pairwise(places)]) == decode([data])


def test_an_event_is_dispatched_by_the_bytes_that_complete_it() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\r\n\r") == [(None, "a")]
    assert decoder.feed(b"\ndata: b\r\n") == []
    assert decoder.feed(b"\r") == [(None, "b")]
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\ndata: c\n\n") == [(None, "c")]


@pytest.mark.parametrize("piece", [b"x" * 10, b"data: x\n", b"data:\n", b"data\n"])
def test_an_event_without_end_is_refused(piece: bytes) -> None:
    decoder = SSEDecoder(max_event_bytes=100)
    with pytest.raises(EventTooLarge):
        decode_all(decoder, [piece] * 100)


def test_many_events_are_no_large_event() -> None:
    decoder = SSEDecoder(max_event_bytes=100)
    assert (
        sum(len(decoder.feed(b"data: 0123456789\n\ndata")) + len(decoder.feed(b": 1\n\n")) for _ in range(100)) == 200
    )
