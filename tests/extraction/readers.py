"""Everything that reads fragments of what models, upstreams and programs write, and texts that are hard to read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from app.detection import create_detector
from app.errors import UpstreamBroken
from app.extraction.deltas import CallDelta, Delta, FunctionDelta
from app.extraction.turn import TurnReader
from app.json_size import ValueCounter
from app.render.fenced import FencedText
from app.render.terminal import TerminalLines
from app.sse.decoder import EventTooLarge, SSEDecoder

#: Takes one fragment more.
Feed = Callable[[str], Any]

_VERSION = sys.version_info[:2]


def _content() -> Feed:
    reader = TurnReader(new_id=str)
    return lambda text: reader.feed(Delta(content=text))


def _reasoning() -> Feed:
    reader = TurnReader(new_id=str)
    return lambda text: reader.feed(Delta(reasoning=text))


def _call(name: str) -> Feed:
    reader = TurnReader(new_id=str)
    call = CallDelta(index=0, id="call_1", function=FunctionDelta(name=name, arguments=""))
    reader.feed(Delta(tool_calls=[call]))
    return lambda text: reader.feed(Delta(tool_calls=[CallDelta(index=0, function=FunctionDelta(arguments=text))]))


def _sse() -> Feed:
    decoder = SSEDecoder()
    return lambda text: decoder.feed(text.encode("utf-8", "surrogatepass"))


def _values() -> Feed:
    counter = ValueCounter()
    return lambda text: counter.feed(text.encode("utf-8", "surrogatepass"))


READERS: dict[str, Callable[[], Feed]] = {
    "content": _content,
    "reasoning": _reasoning,
    "arguments": lambda: _call("python"),
    "foreign arguments": lambda: _call("search"),
    "server-sent events": _sse,
    "Python": lambda: create_detector("python", _VERSION).feed,
    "bash": lambda: create_detector("bash", _VERSION).feed,
    "terminal": lambda: TerminalLines().feed,
    "fenced": lambda: FencedText("python").feed,
    "values": _values,
}

#: What such a reader may be amid.
PREFIXES: dict[str, tuple[str, ...]] = {
    "content": ("", "```python\n", "<code>", "<think>", "`x", "~~~\n", "<tool_call>{"),
    "reasoning": ("", "```python\n"),
    "arguments": ("", '{"code": "', '{"code": ', '{"x": ["', '{"code": "x"}', "```python\n", '"'),
    "foreign arguments": ("", '{"q": "', '{"q": 1}'),
    "server-sent events": ("", "data: ", ": ", "event: x\ndata: {"),
    "Python": ("", "x = '", 'x = """', "f'{", "(", "if x:\n    ", "# "),
    "bash": ("", "'", '"', "cat <<E\n", "$(", "if x\nthen\n"),
    "terminal": ("", "x\r", "\x1b["),
    "fenced": ("", "```\n"),
    "values": ("", '"', "["),
}

UNITS = (
    *(" ", "\n", "\t", "\r", "\r\n", " \n", "{", "}", "{1}", "{}", "[", "]", "[],", '"', '\\"', "\\", "\\\\", "\\n"),
    *("\\u0041", "\\ud83d", "'", '"""', "'''", "`", "```", "```python\n", "```\n", "~~~", "<", "</", "<c", "<code>"),
    *("</code>", "<tool_call>", "</tool_call>", "<execute>", "<think>", "</think>", "<|", "#", "# x\n", "(", ")", "a"),
    *(
        "a ",
        "a=1\n",
        "f'{",
        "f'{x!r:>{",
        "\\\n",
        "if x:\n",
        "    x\n",
        "else:\n",
        "@x\n",
        ">>> ",
        "... ",
        "<<E\n",
        "$(",
    ),
    *(
        "${",
        "&",
        "|",
        ";",
        "data: \n",
        "data\n",
        ":",
        "\x1b[",
        "\x1b[1m",
        "\b",
        "\0",
        "\U0001f600",
        "\ufeff",
        ",",
        "1,",
    ),
    *(
        "1,",
        "null",
        "1e9",
        "-",
        "_",
        "%%time\n",
        "%x\n",
        "!ls\n",
        "lambda:",
        "x if x else ",
        "case\n",
        "\x0c",
        "\u2028",
    ),
)

#: What a reader may answer to too much, or to what it cannot read.
REFUSALS = (UpstreamBroken, EventTooLarge)
