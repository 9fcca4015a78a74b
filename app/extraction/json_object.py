"""A JSON object from fragments cut anywhere, key by key (PROTOCOL.md 3.2).

Texts are decoded as they come: strings, and lists of strings, which are lines. Other values are skipped. Keys inside
values are no keys.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from app.extraction.json_string import JsonString

_NESTING = re.compile(r'["{}\[\]]')
_SCALAR_END = re.compile(r"[,}]")
_WHITE = re.compile(r"[ \t\r\n]*")
_SEPARATOR = re.compile(r"[ \t\r\n,]*")


class Key(NamedTuple):
    """A value follows."""

    key: str


class Text(NamedTuple):
    """More of the text under a key."""

    key: str
    text: str


class TextEnd(NamedTuple):
    """The text under a key is complete."""

    key: str


ObjectEvent = Key | Text | TextEnd


class JsonObject:
    """Fed what follows the opening brace. ``closed`` behind the closing one, ``trailing`` if anything but white space
    follows it; ``broken`` at text that is no JSON: nothing more is read then."""

    def __init__(self) -> None:
        self.closed = False
        self.trailing = False
        self.broken = False
        self._step = self._between_members
        self._key: list[str] = []
        self._name = ""
        self._string = JsonString()
        self._depth = 0
        self._in_list = False
        self._last = ""  # the last character of the lines of a list

    def __repr__(self) -> str:
        return f"<JsonObject at={self._step.__name__} key={self._name!r}>"

    def feed(self, text: str) -> list[ObjectEvent]:
        events: list[ObjectEvent] = []
        position = 0
        while position < len(text) and not self.closed and not self.broken:
            position = self._step(text, position, events)
        if self.closed and text[position:].strip():
            self.trailing = True
        return events

    def flush(self) -> list[ObjectEvent]:
        """No more will come; of a string, half a character may be left."""
        if self._step == self._in_text and (text := self._string.flush()):
            return [Text(self._name, text)]
        return []

    # Each step reads some of the text and returns where it stopped.

    def _between_members(self, text: str, position: int, events: list[ObjectEvent]) -> int:
        position = _end_of(_SEPARATOR, text, position)
        if position < len(text):
            if text[position] == '"':
                self._string = JsonString()
                self._key = []
                self._step = self._in_key
            elif text[position] == "}":
                self.closed = True
            else:
                self.broken = True
        return position + 1

    def _in_key(self, text: str, position: int, events: list[ObjectEvent]) -> int:
        decoded, position = self._string.feed(text, position)
        self._key.append(decoded)
        if self._string.closed:
            self._name = "".join(self._key)
            self._step = self._at_colon
        return position

    def _at_colon(self, text: str, position: int, events: list[ObjectEvent]) -> int:
        position = _end_of(_WHITE, text, position)
        if position < len(text):
            if text[position] == ":":
                events.append(Key(self._name))
                self._step = self._at_value
            else:
                self.broken = True
        return position + 1

    def _at_value(self, text: str, position: int, events: list[ObjectEvent]) -> int:
        position = _end_of(_WHITE, text, position)
        if position >= len(text):
            return position
        first = text[position]
        self._in_list = first == "["
        self._last = ""
        if first == '"':
            self._string = JsonString()
            self._step = self._in_text
        elif self._in_list:
            self._step = self._between_lines
        elif first == "{":
            self._depth = 1
            self._step = self._in_nested
        else:
            self._step = self._in_scalar
            return position
        return position + 1

    def _in_text(self, text: str, position: int, events: list[ObjectEvent]) -> int:
        decoded, position = self._string.feed(text, position)
        if decoded:
            self._last = decoded[-1]
            events.append(Text(self._name, decoded))
        if self._string.closed and self._in_list:
            self._step = self._between_lines
        elif self._string.closed:
            events.append(TextEnd(self._name))
            self._step = self._between_members
        return position

    def _between_lines(self, text: str, position: int, events: list[ObjectEvent]) -> int:
        position = _end_of(_SEPARATOR, text, position)
        if position >= len(text):
            return position
        if text[position] == '"':
            if self._last not in ("", "\n"):
                events.append(Text(self._name, "\n"))
            self._string = JsonString()
            self._step = self._in_text
        elif text[position] == "]":
            events.append(TextEnd(self._name))
            self._step = self._between_members
        else:  # a list of something else
            self._depth = 1
            self._step = self._in_nested
            return position
        return position + 1

    def _in_nested(self, text: str, position: int, events: list[ObjectEvent]) -> int:
        match = _NESTING.search(text, position)
        if match is None:
            return len(text)
        if match[0] == '"':
            self._string = JsonString()
            self._step = self._in_nested_string
        else:
            self._depth += 1 if match[0] in "{[" else -1
            if self._depth == 0:
                self._step = self._between_members
        return match.end()

    def _in_nested_string(self, text: str, position: int, events: list[ObjectEvent]) -> int:
        _, position = self._string.feed(text, position)
        if self._string.closed:
            self._step = self._in_nested
        return position

    def _in_scalar(self, text: str, position: int, events: list[ObjectEvent]) -> int:
        match = _SCALAR_END.search(text, position)
        if match is None:
            return len(text)
        self._step = self._between_members
        return match.start()


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position
