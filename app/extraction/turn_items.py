"""What an upstream answer holds, piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from app.events import CodeSource
from app.extraction.tool_calls import Kind


class ContentText(NamedTuple):
    text: str
    logprobs: Any = None


class ReasoningText(NamedTuple):
    """``key`` is the field it came in and has to be passed on in."""

    text: str
    key: str


class RefusalText(NamedTuple):
    text: str
    logprobs: Any = None


class ExtraFields(NamedTuple):
    """What a delta holds beside texts and calls, as it came: pictures, audio, annotations, ``reasoning_details``."""

    fields: dict[str, Any]


class FieldsBeside(NamedTuple):
    """What an answer tells beside its deltas, the latest of each name, once at its end: of the choice, and of all."""

    choice: dict[str, Any]
    answer: dict[str, Any]


class CodeStarted(NamedTuple):
    """``name`` is the tool's; empty for code in content."""

    call_id: str
    source: CodeSource
    language: str
    name: str


class CodeText(NamedTuple):
    call_id: str
    text: str


class CodeEnded(NamedTuple):
    """Not ``complete``: cut off, or no code of ours after all."""

    call_id: str
    complete: bool


class ForeignFragment(NamedTuple):
    """More of a call that is for the client. The first one of a call may have no arguments; those of a custom tool are
    any text."""

    id: str
    name: str
    arguments: str
    kind: Kind = "function"


class ForeignCall(NamedTuple):
    """All of a call that is for the client. ``extras`` are fields to be echoed."""

    id: str
    name: str
    arguments: str
    complete: bool = True
    extras: Mapping[str, Any] = {}
    kind: Kind = "function"


class RefusedCall(NamedTuple):
    """A call of a tool that no client has declared, in a language that does not run here. If it was taken for code of
    ours first, its ``CodeEnded`` came before."""

    id: str
    name: str
    language: str


class Finish(NamedTuple):
    reason: str


class UsageReport(NamedTuple):
    """Replaces earlier ones of the turn: some upstreams send it with every delta, cumulated."""

    usage: dict[str, Any]


TurnItem = (
    ContentText | ReasoningText | RefusalText | ExtraFields | FieldsBeside | CodeStarted | CodeText | CodeEnded
    | ForeignFragment | ForeignCall | RefusedCall | Finish | UsageReport
)  # fmt: skip
