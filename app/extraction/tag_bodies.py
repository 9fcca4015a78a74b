"""What stands between the tags of PROTOCOL.md 3.4.

A body is fed text and gives back what is not its own: "" until it is ``done``. Code events are appended to the given
list. The end of the message ends a body, because its closing tag is often a stop sequence and never sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Protocol

from app.extraction.arguments import CODE_KEYS, CodeArguments
from app.extraction.fence import PassedText, SnippetEnd, SnippetEvent, SnippetStart, SnippetText, TaggedText
from app.extraction.json_object import JsonObject, Text, TextEnd
from app.extraction.names import canonical_language, is_code_tool, runs_here
from app.extraction.object_extent import ObjectExtent

#: Up to here a call's JSON may take to get to its arguments; beyond, it is read when it is complete.
_MAX_HEAD_CHARS = 400
_CALL_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"([^"\\]*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')
_PARAMETER = re.compile(r"<parameter=([^<>]{1,64})>|</function>")
_FUNCTION = re.compile(r"<function=([^<>\s]{1,64})>")


class TagBody(Protocol):
    done: bool

    def feed(self, text: str, events: list[SnippetEvent]) -> str: ...

    def flush(self, events: list[SnippetEvent]) -> None: ...


class UntilTag:
    """Splits text at a closing tag; holds back what may be the beginning of it."""

    def __init__(self, closing: str) -> None:
        self.found = False
        self._closing = closing
        self._held = ""

    def feed(self, text: str) -> tuple[str, str]:
        """The text before the closing tag, and the text behind it."""
        text = self._held + text
        self._held = ""
        before, closing, after = text.partition(self._closing)
        if closing:
            self.found = True
            return before, after
        start = text.rfind("<", max(0, len(text) - len(self._closing) + 1))
        if start >= 0 and self._closing.startswith(text[start:]):
            self._held = text[start:]
            text = text[:start]
        return text, ""

    def flush(self) -> str:
        return self._held


class CodeBody:
    """Code as it stands, without the newline that follows the opening tag."""

    def __init__(self, closing: str, language: str) -> None:
        self.done = False
        self._text = UntilTag(closing)
        self._runs = runs_here(language)
        self._language = language
        self._begun = False

    def feed(self, text: str, events: list[SnippetEvent]) -> str:
        code, rest = self._text.feed(text)
        self._add(code, events)
        if self._text.found:
            self._end(events)
        return rest

    def flush(self, events: list[SnippetEvent]) -> None:
        self._add(self._text.flush(), events)
        self._end(events)

    def _add(self, code: str, events: list[SnippetEvent]) -> None:
        if not code or not self._runs:
            return
        if not self._begun:
            self._begun = True
            events.append(SnippetStart(self._language, "tag"))
            code = code.removeprefix("\n")
        if code:
            events.append(SnippetText(code))

    def _end(self, events: list[SnippetEvent]) -> None:
        self.done = True
        if self._begun:
            events.append(SnippetEnd())


class ArgumentsBody:
    """The arguments object of a call, and the tag behind it."""

    def __init__(self, closing: str) -> None:
        self.done = False
        self._arguments = CodeArguments()
        self._extent = ObjectExtent()
        self._after = UntilTag(closing)
        self._begun = False
        self._ended = False

    def feed(self, text: str, events: list[SnippetEvent]) -> str:
        if not self._ended:
            end = self._extent.feed(text)
            self._add(self._arguments.feed(text if end < 0 else text[:end]), events)
            if end < 0:
                return ""
            self._end(events)
            text = text[end:]
        _, rest = self._after.feed(text)
        self.done = self._after.found
        return rest

    def flush(self, events: list[SnippetEvent]) -> None:
        if not self._ended:
            self._end(events)

    def _add(self, code: str, events: list[SnippetEvent]) -> None:
        language = self._arguments.language or "python"
        if not code or not runs_here(language):
            return
        if not self._begun:
            self._begun = True
            events.append(SnippetStart(language, "tag"))
        events.append(SnippetText(code))

    def _end(self, events: list[SnippetEvent]) -> None:
        self._ended = True
        self._add(self._arguments.flush(), events)
        if self._begun:
            events.append(SnippetEnd())


class WholeCallBody:
    """A call whose JSON is not in the usual order: read when it is complete."""

    def __init__(self, tools: Collection[str]) -> None:
        self.done = False
        self._tools = tools
        self._text = UntilTag("</tool_call>")
        self._parts: list[str] = []

    def feed(self, text: str, events: list[SnippetEvent]) -> str:
        part, rest = self._text.feed(text)
        self._parts.append(part)
        if self._text.found:
            self.flush(events)
        return rest

    def flush(self, events: list[SnippetEvent]) -> None:
        self.done = True
        try:
            call = json.loads("".join(self._parts), strict=False)
        except (ValueError, RecursionError):
            return
        if not isinstance(call, dict) or not is_code_tool(str(call.get("name", "")), self._tools):
            return
        value = call.get("arguments", call.get("parameters"))
        arguments = CodeArguments()
        code = arguments.feed(value if isinstance(value, str) else json.dumps(value)) + arguments.flush()
        language = arguments.language or "python"
        if code and not arguments.failed and runs_here(language):
            events += [SnippetStart(language, "tag"), SnippetText(code), SnippetEnd()]


class FunctionBody:
    """``<parameter=code>...</parameter></function>``, behind ``<function=NAME>``."""

    def __init__(self, name: str, tools: Collection[str]) -> None:
        self.done = False
        self._runs = is_code_tool(name, tools)
        self._head = ""
        self._code: CodeBody | None = None
        self._other: UntilTag | None = None
        self._key = ""
        self._value: list[str] = []
        self._language = "python"

    def feed(self, text: str, events: list[SnippetEvent]) -> str:
        while text and not self.done:
            if self._code is not None:
                text = self._code.feed(text, events)
                if self._code.done:
                    self._code = None
            elif self._other is not None:
                text = self._skip(self._other, text)
            else:
                text = self._between(text)
        return text

    def flush(self, events: list[SnippetEvent]) -> None:
        self.done = True
        if self._code is not None:
            self._code.flush(events)

    def _between(self, text: str) -> str:
        text = self._head + text
        match = _PARAMETER.search(text)
        if match is None:
            start = text.rfind("<")
            self._head = text[start:] if start >= 0 and len(text) - start < _MAX_HEAD_CHARS else ""
            return ""
        self._head = ""
        if match[1] is None:
            self.done = True
        elif self._runs and match[1] in CODE_KEYS:
            self._code = CodeBody("</parameter>", self._language)
        else:
            self._key, self._value = match[1], []
            self._other = UntilTag("</parameter>")
        return text[match.end() :]

    def _skip(self, value: UntilTag, text: str) -> str:
        part, rest = value.feed(text)
        if self._key in ("language", "lang"):
            self._value.append(part)
        if value.found:
            if self._value:
                self._language = canonical_language("".join(self._value))
            self._other = None
        return rest


class ToolCallBody:
    """What follows ``<tool_call>``: JSON, or a ``<function=NAME>``."""

    def __init__(self, tools: Collection[str]) -> None:
        self.done = False
        self._tools = tools
        self._head = ""
        self._body: TagBody | None = None

    def feed(self, text: str, events: list[SnippetEvent]) -> str:
        if self._body is None:
            self._head += text
            text = self._decide()
        if self._body is not None:
            text = self._body.feed(text, events)
            self.done = self._body.done
        return text

    def flush(self, events: list[SnippetEvent]) -> None:
        self.done = True
        if self._body is None and self._head.lstrip().startswith("{"):
            self._body = WholeCallBody(self._tools)
            self._body.feed(self._head, events)
        if self._body is not None:
            self._body.flush(events)

    def _decide(self) -> str:
        """Choose a body once the head shows which; the text for it."""
        head = self._head
        start = head.lstrip()
        if match := _CALL_HEAD.match(head):
            runs = is_code_tool(match[1], self._tools)
            self._body = ArgumentsBody("</tool_call>") if runs else CodeBody("</tool_call>", "")
            return head[match.end() :]
        if match := _FUNCTION.match(start):
            self._body = FunctionBody(match[1], self._tools)
            return start[match.end() :]
        if len(head) < _MAX_HEAD_CHARS and "</tool_call>" not in head:
            if start.startswith(("{", "<function=")) or "<function=".startswith(start):
                return ""
        elif start.startswith("{"):
            self._body = WholeCallBody(self._tools)
            return head
        self.done = True
        return head


class StructuredBody:
    """A whole message ``{"thought": ..., "code": ...}``: smolagents with structured outputs.

    ``tells_thought``: as text that stands beside the code.
    """

    def __init__(self, *, tells_thought: bool = False) -> None:
        self.done = False
        self._tells_thought = tells_thought
        self._object = JsonObject()
        self._begun = False
        self._ended = False

    def feed(self, text: str, events: list[SnippetEvent]) -> str:
        for event in self._object.feed(text):
            match event:
                case Text("thought", thought) if self._tells_thought:
                    events.append(PassedText(thought))
                case Text("code", code) if not self._ended:
                    if not self._begun:
                        self._begun = True
                        events.append(SnippetStart("python", "tag"))
                    events.append(SnippetText(code))
                case TextEnd("code") if self._begun:
                    self.flush(events)
        return ""

    def flush(self, events: list[SnippetEvent]) -> None:
        if self._begun and not self._ended:
            self._ended = True
            events.append(SnippetEnd())


class ToldBody:
    """Another body. When it is over, what it was made of is told: as ``TaggedText`` if there was code in it, else as
    ``PassedText``. ``opening``: what stood before what it is fed."""

    def __init__(self, body: TagBody, opening: str) -> None:
        self.done = False
        self._body = body
        self._fed = [opening]
        self._has_code = False

    def feed(self, text: str, events: list[SnippetEvent]) -> str:
        begun = len(events)
        self._fed.append(text)
        rest = self._body.feed(text, events)
        self._look_for_code(events, begun)
        if self._body.done:
            self._tell(events, rest)
        return rest

    def flush(self, events: list[SnippetEvent]) -> None:
        begun = len(events)
        self._body.flush(events)
        self._look_for_code(events, begun)
        self._tell(events, "")

    def _look_for_code(self, events: list[SnippetEvent], begun: int) -> None:
        self._has_code = self._has_code or any(isinstance(event, SnippetStart) for event in events[begun:])

    def _tell(self, events: list[SnippetEvent], rest: str) -> None:
        self.done = True
        fed = "".join(self._fed)
        own = fed[: len(fed) - len(rest)]
        events.append(TaggedText(own) if self._has_code else PassedText(own))
