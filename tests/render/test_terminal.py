from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.render.terminal import MAX_LINE_CHARS, TerminalLines

ESCAPES = (
    r"\x1b[2K \x1b[A \x1b[2A \x1b[1B \x1b[31m \x1b[K \x1b[1K \x1b[J \x1b[2J \x1b[H \x1b[3;2H \x1b[5D \x1b[2C \x1b[G"
)
STRINGS = r"\x1b]0;title\x07 \x1b]8;;u\x1b\\ \x1b(B \x1b [ \x9b1A \x1bP1$r\x1b\\"
SEQUENCES = [text.encode().decode("unicode_escape") for text in f"{ESCAPES} {STRINGS}".split(" ")]
LONG = ["x" * 70, "\x1b[" + "1" * 100 + "m", "y" * (MAX_LINE_CHARS + 3)]
PIECES = st.sampled_from(["a", "bc\n", "\r", "\b\b", "\n", "\a", "é😀", *LONG, *SEQUENCES])


def shown(text: str, reach: int = 64) -> str:
    terminal = TerminalLines(reach)
    return terminal.feed(text) + terminal.flush()


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("plain\ntext", "plain\ntext"),
        ("".join(f"\rprogress {percent}%" for percent in range(101)), "progress 100%"),
        ("abc\rX", "Xbc"),
        ("abc\r\ndef\r\n", "abc\ndef\n"),
        ("ab\b\bX", "Xb"),
        ("\b\bx", "x"),
        ("\x1b[1;31mred\x1b[0m and \x1b[38;5;200mmore\x1b[m", "red and more"),
        ("long line\r\x1b[2Kshort", "short"),
        ("long line\r\x1b[Kx", "x"),
        ("abc\x1b[2D\x1b[1Kd", " dc"),
        ("a\nb\nc\x1b[2A\rX\n\nZ", "X\nb\nZ"),
        ("0: 10%\n1: 10%\x1b[A\r0: 90%\n\r1: 90%\n", "0: 90%\n1: 90%\n"),
        ("a\nb\x1b[Jc\x1b[A\x1b[Jd", "a d"),
        ("gone\nall\x1b[H\x1b[2Jnew", "new"),
        ("\x1b]0;title\x07x\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "xlink"),
        ("x\x1b[5Cy", "x     y"),
        ("a\x1b[Zb", "ab"),
        ("a\a\x1b(Bb", "ab"),
        ("\x1b[999999999999999999999Ax", "x"),
        ("half \x1b[3", "half "),
    ],
)
def test_what_a_terminal_leaves(written: str, left: str) -> None:
    assert shown(written) == left


def test_a_cursor_goes_up_no_further_than_it_reaches() -> None:
    assert shown("a\nb\nc\x1b[2A\rX", reach=0) == "a\nb\nX"
    assert shown("a\nb\nc\x1b[2A\rX", reach=1) == "a\nX\nc"


def test_lines_are_given_as_soon_as_they_are_out_of_reach() -> None:
    terminal = TerminalLines(1)
    assert terminal.feed("a\nb\n") == "a\n"
    assert terminal.feed("c") == ""
    assert terminal.rest == "b\nc"


def test_clearing_is_told() -> None:
    cleared: list[str] = []
    terminal = TerminalLines(on_clear=lambda: cleared.append("all"))
    assert terminal.feed("a\n\x1b[2Jb\n") == "b\n"
    assert cleared == ["all"]


@given(st.lists(PIECES, max_size=20), st.lists(st.integers(1, 90), min_size=1, max_size=5), st.sampled_from([0, 1, 5]))
@example(["\x1b[" + "1" * 100 + "m"], [1], 0)
@example(["y" * (MAX_LINE_CHARS + 1), "bc\n", "z" * 100, "\x1b[A\rx"], [1, 90], 1)
@example(["\n", "y" * (2 * MAX_LINE_CHARS + 1), "\n", "z" * 100, "\x1b[A\rx"], [1, 90], 5)
def test_every_split_leaves_the_same(pieces: list[str], sizes: list[int], reach: int) -> None:
    text = "".join(piece for piece in pieces if piece != "\x1b[2J")  # what was given already, its reader takes back
    whole = shown(text, reach)
    terminal = TerminalLines(reach)
    found, at = "", 0
    for size in itertools.cycle(sizes):
        found += terminal.feed(text[at : at + size])
        at += size
        if at >= len(text):
            break
    assert found + terminal.flush() == whole


@given(st.text(st.characters(exclude_categories=["Cc"], include_characters="\n"), max_size=300), st.integers(0, 3))
def test_plain_text_stays_as_it_is(text: str, reach: int) -> None:
    assert shown(text, reach) == text
