"""Programs that provoke: lines that interact, and small damage to real code. Many of them are not valid."""

from __future__ import annotations

import sys
from random import Random

from tests.detection.snippets import ENDINGS, ENDINGS_OF_LINES, INSERTS, LINES, LINES_312, LINES_314

_OPERANDS = (
    " x",
    "1",
    "'",
    '"',
    "= 1",
    ": x",
    " for x in y",
    " else x",
    " in x",
    "x as y",
    ", *x",
    "**x",
    "x: x",
    "]x",
)
_LINES = LINES
if sys.version_info >= (3, 12):
    _LINES += LINES_312
if sys.version_info >= (3, 14):
    _LINES += LINES_314


def program(random: Random, extra: tuple[str, ...] = ()) -> str:
    """A few lines that may or may not fit together; half of them ``extra`` ones, if there are any."""
    count = random.choice([1, 2, 2, 3, 3, 4, 5, 6])
    text = "".join(random.choice(extra if extra and random.random() < 0.5 else _LINES) for _ in range(count))
    if text and random.random() < 0.2:
        at = random.randrange(len(text))
        text = text[:at] + text[at + 1 :]
    return text.rstrip("\n") if random.random() < 0.2 else text


def endings(prefix: str) -> list[str]:
    """What may make ``prefix`` a valid program: brackets closed, a block begun, a clause or an operand added."""
    closing = _closing(prefix)
    ends = [closing + rest for rest in ENDINGS_OF_LINES]
    if closing:
        ends += [operand + closing + rest for operand in _OPERANDS for rest in ("\n", ":\n pass\n", " = x\n", ": x\n")]
    return [*ENDINGS, *ends]


def _closing(prefix: str) -> str:
    """The closing brackets of those that look open; strings and comments are not known here."""
    stack: list[str] = []
    for c in prefix:
        if c in "([{":
            stack.append(")]}"["([{".index(c)])
        elif stack and c == stack[-1]:
            stack.pop()
    return "".join(reversed(stack[-20:]))


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
