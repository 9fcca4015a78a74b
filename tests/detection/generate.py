"""Programs that provoke: lines that interact, and small damage to real code. Many of them are not valid."""

from __future__ import annotations

import sys
from random import Random

from tests.detection.snippets import INSERTS, LINES, LINES_312, LINES_314

_LINES = LINES
if sys.version_info >= (3, 12):
    _LINES += LINES_312
if sys.version_info >= (3, 14):
    _LINES += LINES_314


def program(random: Random) -> str:
    """A few lines that may or may not fit together."""
    text = "".join(random.choice(_LINES) for _ in range(random.choice([1, 2, 2, 3, 3, 4, 5, 6])))
    if text and random.random() < 0.2:
        at = random.randrange(len(text))
        text = text[:at] + text[at + 1 :]
    return text.rstrip("\n") if random.random() < 0.2 else text


def damaged(text: str, random: Random) -> str:
    """``text`` with one to three small changes."""
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        if text:
            text = random.choice(_DAMAGES)(text, random)
    return text


def _insert(text: str, random: Random) -> str:
    at = random.randrange(len(text))
    return text[:at] + random.choice(INSERTS) + text[at:]


def _insert_at_line(text: str, random: Random) -> str:
    ends = [i + random.choice((0, 1)) for i, c in enumerate(text) if c == "\n"]
    at = random.choice(ends) if ends else 0
    return text[:at] + random.choice(INSERTS) + text[at:]


def _delete(text: str, random: Random) -> str:
    at = random.randrange(len(text))
    return text[:at] + text[at + random.choice([1, 1, 2, 5, 20]) :]


def _swap_lines(text: str, random: Random) -> str:
    lines = text.splitlines(True)
    a, b = random.randrange(len(lines)), random.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return "".join(lines)


def _indent(text: str, random: Random) -> str:
    lines = text.splitlines(True)
    at = random.randrange(len(lines))
    lines[at] = random.choice(["", " ", "    ", "\t", "\f", "# ", "\\\n"]) + lines[at].lstrip(random.choice([" ", ""]))
    return "".join(lines)


def _replace_line_end(text: str, random: Random) -> str:
    ends = [i for i, c in enumerate(text) if c == "\n"]
    at = random.choice(ends) if ends else 0
    return text[:at] + random.choice([";", " \\\n", "\r\n", " # c\n", ";\n", "; \\\n"]) + text[at + 1 :]


def _truncate(text: str, random: Random) -> str:
    return text[: random.randrange(len(text))]


_DAMAGES = (
    *(_insert, _insert, _insert, _insert_at_line, _insert_at_line),
    *(_delete, _swap_lines, _indent, _replace_line_end, _truncate),
)
