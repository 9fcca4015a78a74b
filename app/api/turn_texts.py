"""The texts of the turns of one answer, where its client sees one text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

from app.events import Done, Error, Event, Token, ToolCall, ToolCallDelta

#: Formats in which an answer is to be parsed.
PARSED_FORMATS = ("json_object", "json_schema")


class TurnTexts(Protocol):
    """A pure core between the pipeline and a wire."""

    def feed(self, event: Event) -> list[Event]:
        """What the client is shown."""
        ...


class Paragraphs:
    """A turn does not know what its client has read before: an empty line parts its text from that, and its reasoning
    from reasoning."""

    def __init__(self) -> None:
        self._texts = {"content": _TextParagraphs(), "reasoning": _TextParagraphs()}

    def __repr__(self) -> str:
        return f"Paragraphs({self._texts})"

    def feed(self, event: Event) -> list[Event]:
        if not isinstance(event, Token) or event.channel not in self._texts or not event.text:
            return [event]
        gap, text = self._texts[event.channel].feed(event.turn, event.text)
        if not text:
            return []
        shown: list[Event] = [msgspec.structs.replace(event, text=gap, logprobs=msgspec.UNSET)] if gap else []
        return [*shown, event if text == event.text else msgspec.structs.replace(event, text=text)]


class _TextParagraphs:
    """Of one text. A turn's first line ends are left out: the empty line stands for them."""

    def __init__(self) -> None:
        #: The turn of what was shown last; none before something visible was.
        self._turn: int | None = None
        self._end = ""

    def __repr__(self) -> str:
        return f"turn={self._turn} end={self._end!r}"

    def feed(self, turn: int, text: str) -> tuple[str, str]:
        """The line ends that are missing before it, and what is shown of it."""
        gap = ""
        if self._turn is None and not text.strip():
            return gap, text
        if self._turn not in (None, turn):
            text = text.lstrip("\n")
            if not text:
                return gap, text
            gap = "\n" * (2 - len(self._end) + len(self._end.rstrip("\n")))
        self._turn = turn
        self._end = (self._end + text)[-2:]
        return gap, text


class OnlyJson:
    """An answer that is to be parsed is that of the last turn with text. What a model says before its code or another
    call ("Let me compute that.") is known by its beginning: it is held back, and shown only if nothing follows. JSON is
    shown as it comes."""

    def __init__(self) -> None:
        self._held: list[Event] = []
        self._turn: int | None = None
        self._kind: Literal["blank", "prose", "json"] = "blank"

    def __repr__(self) -> str:
        return f"OnlyJson(turn={self._turn}, {self._kind}, held={len(self._held)})"

    def feed(self, event: Event) -> list[Event]:
        match event:
            case Token(channel="content"):
                return self._text(event)
            case ToolCall() | ToolCallDelta():
                self._held = []
            case Done() | Error():
                return [*self._release(), event]
        return [event]

    def _text(self, token: Token) -> list[Event]:
        if token.turn != self._turn:
            self._turn, self._kind, self._held = token.turn, "blank", []
        self._held.append(token)
        if self._kind == "blank" and (visible := token.text.lstrip()):
            self._kind = "json" if visible[0] in "{[" else "prose"
        return self._release() if self._kind == "json" else []

    def _release(self) -> list[Event]:
        held, self._held = self._held, []
        return held


def is_parsed(response_format: Mapping[str, Any] | None) -> bool:
    """Whether the client has asked for JSON, in the words of chat completions."""
    return (response_format or {}).get("type") in PARSED_FORMATS
