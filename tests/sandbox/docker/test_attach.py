"""The engine's multiplexed stream, however it is cut."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sandbox.docker.attach import STDERR, STDOUT, AttachDecoder, AttachedChannel, AttachRefusedError
from sandbox_image.protocol import STDOUT as STDOUT_FRAME
from sandbox_image.protocol import encode_frame

HEAD = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nUpgrade: tcp\r\n\r\n"


def piece(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(data)) + data


def joined(pieces: list[tuple[int, bytes]]) -> dict[int, bytes]:
    return {stream: b"".join(data for s, data in pieces if s == stream) for stream in (STDOUT, STDERR)}


@given(
    pieces=st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=40)), max_size=6),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_the_streams_come_out_whole_however_the_bytes_are_cut(pieces: list[tuple[int, bytes]], cuts: list[int]) -> None:
    sent = HEAD + b"".join(piece(stream, data) for stream, data in pieces)
    bounds = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    decoder = AttachDecoder()
    received = [part for start, end in itertools.pairwise(bounds) for part in decoder.feed(sent[start:end])]
    assert joined(received) == joined(pieces)
    assert decoder.attached


def test_data_is_passed_on_before_its_piece_is_complete() -> None:
    decoder = AttachDecoder()
    decoder.feed(HEAD)
    assert decoder.feed(piece(STDOUT, b"abcdef")[:-3]) == [(STDOUT, b"abc")]


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 404 Not Found\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"x" * 20_000],
    ids=["not found", "no status", "empty", "another protocol", "no end"],
)
def test_anything_but_an_upgrade_is_refused(answer: bytes) -> None:
    with pytest.raises(AttachRefusedError):
        AttachDecoder().feed(answer)


async def test_the_channel_delivers_frames_of_stdout_and_keeps_the_end_of_stderr() -> None:
    frames: list[tuple[int, bytes]] = []
    ends: list[str] = []
    channel = AttachedChannel()
    channel.attach(lambda kind, payload: frames.append((kind, payload)), ends.append)
    frame = encode_frame(STDOUT_FRAME, b"hello")
    stream = HEAD + piece(STDOUT, frame[:3]) + piece(STDERR, b"a warning\n") + piece(STDOUT, frame[3:])
    channel.data_received(stream)
    await channel.wait_attached()
    assert frames == [(STDOUT_FRAME, b"hello")]
    assert channel.tail.text() == "a warning"
    channel.connection_lost(None)
    assert ends == ["the sandbox closed the connection"]


async def test_a_refused_attach_ends_the_channel_with_the_answer_of_the_engine() -> None:
    ends: list[str] = []
    channel = AttachedChannel()
    channel.attach(lambda kind, payload: None, ends.append)
    channel.data_received(b"HTTP/1.1 409 Conflict\r\n\r\n")
    await channel.wait_attached()
    assert ends == ["attach: HTTP/1.1 409 Conflict"]
