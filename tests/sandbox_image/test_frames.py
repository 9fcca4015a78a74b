from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_image.frames import FrameCutter, kind_of
from sandbox_image.protocol import HEADER, ProtocolError, encode_frame

FRAMES = [encode_frame(3, b"{}"), encode_frame(0, b""), encode_frame(4, bytes(300)), encode_frame(1, b"x")]


def cut(pieces: list[bytes]) -> list[bytes]:
    cutter = FrameCutter()
    return [bytes(frame) for piece in pieces for frame in cutter.feed(piece)]


def test_frames_come_out_whole_and_encoded() -> None:
    assert cut([b"".join(FRAMES)]) == FRAMES
    assert [kind_of(frame) for frame in FRAMES] == [3, 0, 4, 1]


def test_one_byte_at_a_time_gives_the_same() -> None:
    assert cut([bytes([byte]) for byte in b"".join(FRAMES)]) == FRAMES


def test_a_read_that_is_one_frame_is_not_copied() -> None:
    assert FrameCutter().feed(FRAMES[0])[0] is FRAMES[0]


def test_the_unfinished_frame_is_kept() -> None:
    cutter = FrameCutter()
    assert cutter.feed(FRAMES[0] + FRAMES[2][:7]) == [FRAMES[0]]
    assert repr(cutter) == "<FrameCutter 7 bytes of an unfinished frame>"
    assert cutter.feed(FRAMES[2][7:]) == [FRAMES[2]]


@given(st.lists(st.binary(max_size=20), max_size=8), st.lists(st.integers(0, 200), max_size=12))
@settings(max_examples=100)
def test_every_split_gives_the_same(payloads: list[bytes], cuts: list[int]) -> None:
    frames = [encode_frame(3, payload) for payload in payloads]
    stream = b"".join(frames)
    edges = sorted({0, len(stream), *(edge for edge in cuts if edge < len(stream))})
    assert cut([stream[start:stop] for start, stop in pairwise(edges)]) == frames


@pytest.mark.parametrize("length", [0, 11, 0xFFFFFFFF])
@pytest.mark.parametrize("split", [1, 4, 5])
def test_a_length_of_zero_or_above_the_limit_is_a_violation(length: int, split: int) -> None:
    cutter = FrameCutter(max_frame_bytes=10)
    header = HEADER.pack(length, 3)
    with pytest.raises(ProtocolError):
        [cutter.feed(piece) for piece in (header[:split], header[split:])]


def test_a_frame_of_the_limit_is_none() -> None:
    frame = encode_frame(3, bytes(9))
    assert FrameCutter(max_frame_bytes=10).feed(frame) == [frame]
