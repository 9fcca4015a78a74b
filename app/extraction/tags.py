"""Tagged code in content, from fragments cut anywhere (PROTOCOL.md 3.4): ``<code>``, ``<execute>``,
``<code_interpreter>``, and tool calls that a server without a tool parser left in the text.

A tag counts at the start of a line or after white space, not inside a fence or inline code. Text is held back while it
may be a tag's beginning.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from app.extraction.fence import FenceReader, PassedText, SnippetEvent
from app.extraction.names import CODE_TOOLS, canonical_language
from app.extraction.tag_bodies import CodeBody, FunctionBody, StructuredBody, TagBody, ToldBody, ToolCallBody

#: Text is read in slices, so that what is copied behind each tag stays short.
_SLICE_CHARS = 4096
_MAX_TAG_CHARS = 200
_CANDIDATE = re.compile(r"(?<!\S)<")
_TAG = re.compile(
    r"<(?P<code>code|execute|execute_ipython)>|<code_interpreter(?P<attributes>\s[^<>]*)?>"
    r"|(?P<call><tool_call>)|<function=(?P<function>[^<>\s]{1,64})>"
)
_LITERAL_TAGS = ("<code>", "<execute>", "<execute_ipython>", "<code_interpreter", "<tool_call>", "<function=")
_OPEN_TAG = re.compile(r"<code_interpreter\s[^<>]*\Z|<function=[^<>\s]{0,64}\Z")
_LANG = re.compile(r"""\slang=["']?([^\s"'>]*)""")
_STRUCTURED = '{"thought":'
_TICKS = re.compile(r"`+|\n|[^`\n]+")


class TagReader:
    """Code events of tagged code and, unless ``fences`` is off, of fenced blocks.

    ``tells_text``: and the text beside tags with code, and these tags themselves, all in their order.
    """

    def __init__(self, tools: Collection[str] = CODE_TOOLS, *, fences: bool = False, tells_text: bool = False) -> None:
        self._tools = tools
        self._fence_code = fences
        self._tells_text = tells_text
        self._fences = FenceReader()
        self._body: TagBody | None = None
        self._head: str | None = ""  # the start of the message, until it is known not to be structured
        self._held = ""
        self._after_space = True
        self._tick_run = 0
        self._inline_ticks = 0
        self._events: list[SnippetEvent] = []

    def __repr__(self) -> str:
        return f"<TagReader body={type(self._body).__name__} held={self._held!r}>"

    def feed(self, text: str) -> list[SnippetEvent]:
        for start in range(0, len(text), _SLICE_CHARS):
            self._feed(text[start : start + _SLICE_CHARS])
        return self._take_events()

    def flush(self) -> list[SnippetEvent]:
        """The message is over, which closes what is open."""
        if self._head is not None:
            text, self._head = self._head, None
            self._feed(text)
        if self._held:
            self._pass(self._held)
            self._held = ""
        if self._body is not None:
            self._body.flush(self._events)
            self._body = None
        self._add_fence_events(self._fences.flush())
        return self._take_events()

    def _take_events(self) -> list[SnippetEvent]:
        events, self._events = self._events, []
        return events

    def _feed(self, text: str) -> None:
        if self._head is not None:
            text = self._leave_head(self._head + text)
        while text:
            if self._body is None:
                text = self._read_text(self._held + text)
            else:
                text = self._body.feed(text, self._events)
                if self._body.done:
                    self._body = None

    def _leave_head(self, head: str) -> str:
        """The text to read on with, once it is clear whether the message is structured."""
        compact = "".join(head[:_MAX_TAG_CHARS].split())
        if compact.startswith(_STRUCTURED):
            start = head.index("{") + 1
            self._enter(StructuredBody(tells_thought=self._tells_text), head[:start])
            self._head = None
            return head[start:]
        if len(head) < _MAX_TAG_CHARS and _STRUCTURED.startswith(compact):
            self._head = head
            return ""
        self._head = None
        return head

    def _read_text(self, text: str) -> str:
        """Pass text on up to a tag; what follows the tag."""
        self._held = ""
        passed = position = 0
        while (candidate := _CANDIDATE.search(text, position)) is not None:
            start = candidate.start()
            position = start + 1
            if start == 0 and not self._after_space:
                continue
            self._pass(text[passed:start])
            passed = start
            if self._fences.in_fence or self._inline_ticks:
                continue
            if tag := _TAG.match(text, start):
                self._enter(self._open(tag), tag[0])
                self._after_space = False
                return text[tag.end() :]
            rest = text[start : start + _MAX_TAG_CHARS]
            if start + len(rest) == len(text) and _may_be_tag(rest):
                self._held = rest
                return ""
        self._pass(text[passed:])
        return ""

    def _enter(self, body: TagBody, opening: str) -> None:
        self._body = ToldBody(body, opening) if self._tells_text else body

    def _open(self, tag: re.Match[str]) -> TagBody:
        if tag["code"]:
            return CodeBody(f"</{tag['code']}>", "python")
        if tag["call"]:
            return ToolCallBody(self._tools)
        if tag["function"]:
            return FunctionBody(tag["function"], self._tools)
        lang = _LANG.search(tag["attributes"] or "")
        return CodeBody("</code_interpreter>", canonical_language(lang[1] if lang else ""))

    def _pass(self, text: str) -> None:
        """Follow text that is no tag: fences and inline code."""
        if not text:
            return
        self._after_space = text[-1].isspace()
        if self._tells_text:
            self._events.append(PassedText(text))
        self._add_fence_events(self._fences.feed(text))
        if not self._tick_run and not self._inline_ticks and "`" not in text:
            return
        for match in _TICKS.finditer(text):
            if match[0][0] == "`":
                self._tick_run += len(match[0])
                continue
            if self._tick_run:
                if self._inline_ticks in (0, self._tick_run):
                    self._inline_ticks = 0 if self._inline_ticks else self._tick_run
                self._tick_run = 0
            if match[0] == "\n":
                self._inline_ticks = 0  # a lone backtick must not hide the rest of the message

    def _add_fence_events(self, events: list[SnippetEvent]) -> None:
        if self._fence_code:
            self._events += events


def _may_be_tag(text: str) -> bool:
    return any(tag.startswith(text) for tag in _LITERAL_TAGS) or _OPEN_TAG.match(text) is not None
