"""What is ours in a text, told by lines that Markdown does not show.

A link reference definition (CommonMark 4.7) that nothing refers to is shown by no front end, also by those that show
HTML comments as text. It stands between empty lines:

    [//]: # (eager:ID.K:in)    here begins what was added, the K-th time in the turn ID
    [//]: # (eager:ID.K:out)   here it ends
    [//]: # (eager:ID:next)    here ends the turn ID, and another answer of the model begins

The empty lines around belong to the marker. ``ID`` is random: a model, a program or a page cannot know it ahead, and a
line with another one is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

_MARKER = re.compile(
    r"(?:\n{1,2}|\A\n*)\[//\]: # \(eager:(?P<turn>[A-Za-z0-9_-]{12})"
    r"(?:\.(?P<part>\d{1,4}):(?P<edge>in|out)|:next)\)[ \t]*(?P<after>\n{1,2}|\Z)"
)


def marker(turn: str, part: int, edge: Literal["in", "out"]) -> str:
    return f"[//]: # (eager:{turn}.{part}:{edge})"


def next_marker(turn: str) -> str:
    return f"[//]: # (eager:{turn}:next)"


class Marker(NamedTuple):
    """``start`` and ``end``: with the line ends around it that belong to it."""

    start: int
    end: int
    turn: str
    part: int
    edge: Literal["in", "out", "next"]


def find_markers(text: str) -> Iterator[Marker]:
    """All markers of a text whose line ends are ``\\n``."""
    position = 0
    while (match := _MARKER.search(text, position)) is not None:
        edge: Literal["in", "out", "next"] = "next"
        if match["edge"] is not None:
            edge = "in" if match["edge"] == "in" else "out"
        yield Marker(match.start(), match.end(), match["turn"], int(match["part"] or 0), edge)
        # The line ends behind one marker are those before the next one, too.
        position = match.start("after")


def has_markers(text: str) -> bool:
    return "(eager:" in text


def without_markers(text: str) -> str:
    """The text as it is shown, for whoever asks about it: a title, a quotation."""
    if not has_markers(text):
        return text
    kept: list[str] = []
    position = 0
    for mark in find_markers(text):
        kept.append(text[position : mark.start])
        position = mark.end
    kept.append(text[position:])
    return "\n\n".join(piece for piece in kept if piece)
