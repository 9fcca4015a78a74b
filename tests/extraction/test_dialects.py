"""One answer told in many dialects, its bytes cut at random, is one answer.

2,000 answers with EAGER_FULL, some of them without.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from app.extraction.deltas import decode_delta
from app.extraction.turn import TurnReader
from app.extraction.turn_items import (
    CodeEnded,
    CodeStarted,
    CodeText,
    ContentText,
    Finish,
    ForeignCall,
    ReasoningText,
    TurnItem,
    UsageReport,
)
from app.sse.decoder import SSEDecoder
from app.upstream.odd_events import is_end, understood

ANSWERS = 2000 if os.environ.get("EAGER_FULL") == "1" else 60
WORDS = (
    "x = 1\n",
    'print("}{")\n',
    "s = '\\\\\"'\n",
    "é😀",
    "\t",
    "{",
    "}",
    '"',
    "[1, 2]",
    "\\",
    "\n",
    "data: [DONE]\n",
    "id",
)
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
TOOLS = ("python", "get_weather", "now")


@dataclass(frozen=True)
class ToldCall:
    name: str
    arguments: dict[str, Any]

    @property
    def text(self) -> str:
        return json.dumps(self.arguments)


@dataclass(frozen=True)
class ToldAnswer:
    reasoning: str
    content: str
    calls: tuple[ToldCall, ...]


def generated(chance: random.Random) -> ToldAnswer:
    def text(most: int) -> str:
        return "".join(chance.choices(WORDS, k=chance.randrange(most)))

    def call() -> ToldCall:
        match chance.choice(TOOLS):
            case "python":
                return ToldCall("python", {"code": f"{text(9)}#"})
            case "now":
                return ToldCall("now", {})
            case name:
                return ToldCall(name, {"city": text(4), "n": [{"deep": text(3)}]})

    return ToldAnswer(text(4), text(6), tuple(call() for _ in range(chance.randrange(4))))


Chunk = dict[str, Any]
Piece = dict[str, Any]


def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> Chunk:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **fields}


def cut(text: str, chance: random.Random) -> list[str]:
    places = sorted(chance.randrange(len(text) + 1) for _ in range(chance.randrange(1, 5)))
    return [text[start:end] for start, end in itertools.pairwise([0, *places, len(text)])]


def piece(text: Any = None, name: str | None = None, id: str | None = None, index: Any = None) -> Piece:
    function = {key: value for key, value in (("name", name), ("arguments", text)) if value is not None}
    given = {key: value for key, value in (("index", index), ("id", id)) if value is not None}
    return {**given, "function": function}


# How the calls of an answer are told, call by call: number, call, and the pieces of its arguments.

Calls = Callable[[int, ToldCall, list[str]], list[Piece]]


def openai(at: int, call: ToldCall, texts: list[str]) -> list[Piece]:
    return [piece("", call.name, f"c{at}", at), *(piece(text, index=at) for text in texts)]


def whole_at_one_index(at: int, call: ToldCall, texts: list[str]) -> list[Piece]:
    return [piece(call.text, call.name, f"c{at}", 0)]


def without_index_and_id(at: int, call: ToldCall, texts: list[str]) -> list[Piece]:
    return [piece(call.text, call.name, "")]


def all_on_each_fragment(at: int, call: ToldCall, texts: list[str]) -> list[Piece]:
    return [piece(text, call.name, f"c{at}", at) for text in texts]


def indexes_that_run(at: int, call: ToldCall, texts: list[str]) -> list[Piece]:
    return [piece("", call.name, f"c{at}", 100 * at), *(
        piece(text, None, f"c{at}", 100 * at + number) for number, text in enumerate(texts, 1)
    )]  # fmt: skip


def tails_at_other_indexes(at: int, call: ToldCall, texts: list[str]) -> list[Piece]:
    return [piece("", call.name, f"c{at}", 100 * at), *(
        piece(text, index=100 * at + number) for number, text in enumerate(texts, 1)
    )]  # fmt: skip


def ids_that_run(at: int, call: ToldCall, texts: list[str]) -> list[Piece]:
    return [piece("", call.name, f"c{at}", at), *(
        piece(text, None, f"c{at}_{number}", at) for number, text in enumerate(texts) if text
    )]  # fmt: skip


def cumulated(at: int, call: ToldCall, texts: list[str]) -> list[Piece]:
    return [piece("".join(texts[: end + 1]), call.name, f"c{at}", at) for end in range(len(texts))]


def again_in_other_spaces(at: int, call: ToldCall, texts: list[str]) -> list[Piece]:
    again = json.dumps(call.arguments, indent=1, ensure_ascii=False)
    return [*openai(at, call, texts), piece(again, call.name, f"c{at}", at + 50), piece(call.text, index=at)]


def names_in_pieces(at: int, call: ToldCall, texts: list[str]) -> list[Piece]:
    name = f"functions.{call.name}:{at}"
    return [piece(None, name[:12], f"c{at}", at), piece("", name[12:], None, at), *(
        piece(text, index=at) for text in texts
    )]  # fmt: skip


def empty_objects_first(at: int, call: ToldCall, texts: list[str]) -> list[Piece]:
    return [piece("{}", call.name, f"toolu_{at}", at + 1), *(piece(text, index=at + 1) for text in texts)]


def objects(at: int, call: ToldCall, texts: list[str]) -> list[Piece]:
    return [piece(call.arguments, f"default_api.{call.name}", None, at)]


# How the chunks are framed, and the answer ended.


def events(chunks: list[Chunk], reason: str) -> bytes:
    told = [*chunks, chunk({}, reason), {"choices": [], "usage": USAGE}]
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in told) + b"data: [DONE]\n\n"


def crlf_and_keep_alives(chunks: list[Chunk], reason: str) -> bytes:
    told = [*chunks, chunk({}, reason, usage=USAGE)]
    lines = (b"data:%b\r\n\r\n: ping\r\n\r\ndata: null\r\n\r\n" % json.dumps(one).encode() for one in told)
    return b"\xef\xbb\xbf" + b"".join(lines)


def a_reason_on_each(chunks: list[Chunk], reason: str) -> bytes:
    """The reason and the usage so far on all of them, and a lower end."""
    told = [json.loads(json.dumps(one)) for one in chunks] or [chunk({})]
    for one in told:
        one["choices"][0]["finish_reason"] = reason
        one["usage"] = USAGE
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in told) + b"data: [done]\n\n"


def a_bare_end(chunks: list[Chunk], reason: str) -> bytes:
    lines = [json.dumps(one, ensure_ascii=False).encode() for one in (*chunks, {"choices": [], "usage": USAGE})]
    return b"".join(b"event: message\nid: 7\ndata: %b\n\n" % line for line in lines) + b"data: [DONE]\n\n"


def bare_lines(chunks: list[Chunk], reason: str) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in (*chunks, chunk({}, reason, usage=USAGE)))


Framing = Callable[[list[Chunk], str], bytes]
DIALECTS: dict[str, tuple[Calls, Framing]] = {
    "openai": (openai, events),
    "ollama": (whole_at_one_index, events),
    "gemini": (without_index_and_id, crlf_and_keep_alives),
    "litellm": (all_on_each_fragment, a_bare_end),
    "indexes that run": (indexes_that_run, a_reason_on_each),
    "tails at other indexes": (tails_at_other_indexes, a_reason_on_each),
    "lm studio": (ids_that_run, bare_lines),
    "sglang": (cumulated, events),
    "again": (again_in_other_spaces, crlf_and_keep_alives),
    "gpt-oss": (names_in_pieces, a_bare_end),
    "anthropic": (empty_objects_first, events),
    "objects": (objects, bare_lines),
}


def told(answer: ToldAnswer, dialect: str, chance: random.Random) -> bytes:
    calls, framing = DIALECTS[dialect]
    chunks = [chunk({"role": "assistant", "content": None})]
    chunks += [chunk({"reasoning_content": text}) for text in cut(answer.reasoning, chance)]
    chunks += [chunk({"content": text}) for text in cut(answer.content, chance)]
    pieces = [one for at, call in enumerate(answer.calls) for one in calls(at, call, cut(call.text, chance))]
    chunks += [chunk({"tool_calls": [one]}) for one in pieces]
    return framing(chunks, "tool_calls" if answer.calls else "stop")


def document(answer: ToldAnswer) -> bytes:
    calls = [piece(call.text, call.name, f"c{at}") for at, call in enumerate(answer.calls)]
    message = {
        "role": "assistant",
        "content": answer.content,
        "reasoning_content": answer.reasoning,
        "tool_calls": calls,
    }
    return json.dumps({"choices": [{"index": 0, "message": message}], "usage": USAGE}, indent=2).encode()


def read(data: bytes, chance: random.Random) -> list[Any]:
    numbers = itertools.count()
    reader = TurnReader(("tool",), new_id=lambda: f"new_{next(numbers)}", declared=TOOLS)
    decoder = SSEDecoder()
    places = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(12)))
    batches = [decoder.feed(data[start:end]) for start, end in itertools.pairwise([0, *places, len(data)])]
    items: list[TurnItem] = []
    for event, text in itertools.chain(*batches, decoder.flush()):
        if is_end(text):
            break
        if meant := understood(text, event):
            items += reader.feed(decode_delta(meant))
    return list(_outline([*items, *reader.flush()]))


def _outline(items: list[TurnItem]) -> Iterator[Any]:
    """What was read, without ids, and without how it was cut."""
    yield "".join(item.text for item in items if isinstance(item, ReasoningText))
    yield "".join(item.text for item in items if isinstance(item, ContentText))
    for begun in items:
        if isinstance(begun, CodeStarted):
            texts = [item.text for item in items if isinstance(item, CodeText) and item.call_id == begun.call_id]
            ends = [item.complete for item in items if isinstance(item, CodeEnded) and item.call_id == begun.call_id]
            yield begun.name, "".join(texts), ends
    for item in items:
        if isinstance(item, ForeignCall):
            yield item.name, json.loads(item.arguments), item.complete
    yield [item.reason for item in items if isinstance(item, Finish)]
    yield next((item.usage for item in reversed(items) if isinstance(item, UsageReport)), None)


def expected(answer: ToldAnswer) -> list[Any]:
    return [
        answer.reasoning,
        answer.content,
        *((call.name, call.arguments["code"], [True]) for call in answer.calls if call.name == "python"),
        *((call.name, call.arguments, True) for call in answer.calls if call.name != "python"),
        ["tool_calls" if answer.calls else "stop"],
        USAGE,
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_is_the_same_in_every_dialect(dialect: str) -> None:
    for seed in range(ANSWERS):
        chance = random.Random(seed)
        answer = generated(chance)
        data = told(answer, dialect, chance)
        assert read(data, chance) == expected(answer), f"seed {seed}: {data!r}"


def test_an_answer_is_the_same_as_a_document() -> None:
    for seed in range(ANSWERS):
        chance = random.Random(seed)
        answer = generated(chance)
        assert read(document(answer), chance) == expected(answer), f"seed {seed}"
