"""Whole tool calls from their fragments (PROTOCOL.md 1.3).

OpenAI sends id and name once and then only ``{index, arguments}``. What others do, and what we make of it:

    a new id at a used index        a new call, unless it has no name and comes before the object's end (LM Studio)
    no index                        a new id, or a name after complete arguments, starts a call; else it is the last one
    id or name null or repeated     the first non-empty one counts
    a complete JSON object is followed by another ``{`` at the same index, or by a name: a new call
    ... by the same object again    left out (vLLM's parsers, proxies): code must not run twice
    a fragment that begins with all before it: only the rest of it is new (Baidu, SGLang)
    indexes from 1, or interleaved  an index is a key, not a position; calls are numbered as they start
    arguments that are an object    written as JSON
    ``{}`` before the arguments     left out (Bedrock, LiteLLM over Anthropic): no call of its own

A call starts when its name is known. It ends when another takes its place, or with the turn: fragments of other calls
may come in between.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.errors import UpstreamBroken
from app.extraction.deltas import CallDelta, FunctionDelta
from app.extraction.half_characters import HalfCharacters
from app.extraction.object_extent import ObjectExtent

#: Calls in one answer; OpenAI allows 128 tools in a request.
MAX_CALLS = 128

_NO_FUNCTION = FunctionDelta()
_EMPTY_OBJECT = re.compile(r"\s*\{\s*\}\s*")


class CallStarted(NamedTuple):
    ordinal: int
    id: str
    name: str


class ArgumentsFragment(NamedTuple):
    ordinal: int
    text: str


class CallEnded(NamedTuple):
    ordinal: int


CallEvent = CallStarted | ArgumentsFragment | CallEnded


@dataclass
class Call:
    """One tool call, as far as it has come. ``given_id`` is the upstream's, ``extras`` are fields to be echoed;
    ``held`` is an empty object that the arguments began with, until it is known to be all of them; ``after`` is what
    follows the complete object (``whole``), until it is known not to be the same again."""

    ordinal: int
    id: str
    given_id: str
    name: str = ""
    extras: dict[str, Any] = field(default_factory=dict)
    fragments: list[str] = field(default_factory=list)
    held: str = ""
    whole: str = ""
    after: str = ""
    started: bool = False
    ended: bool = False
    extent: ObjectExtent = field(default_factory=ObjectExtent, repr=False)
    halves: HalfCharacters = field(default_factory=HalfCharacters, repr=False)

    @property
    def arguments(self) -> str:
        return "".join(self.fragments)

    def anew(self, text: str) -> str:
        """Amid the object: a fragment that begins like all that there is holds it once more. JSON cannot go on so."""
        may_be = len(text) >= len(self.fragments) and text.lstrip().startswith("{")
        return text.removeprefix(self.arguments) if may_be else text

    def beyond(self, text: str) -> str:
        """What follows the complete object, and was not known from it; nothing while it may be a repetition."""
        self.whole = self.whole or self.arguments.strip()
        text = self.after + text
        while (rest := text.lstrip()).startswith(self.whole):
            text = rest[len(self.whole) :]
        self.after = text if self.whole.startswith(text.lstrip()) else ""
        return "" if self.after else text


class ToolCallAssembler:
    """Fed the tool-call deltas of one answer; ``new_id`` makes the ids that upstreams leave out or use twice."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self.calls: list[Call] = []
        self._new_id = new_id
        self._by_index: dict[Hashable, Call] = {}
        self._last: Call | None = None

    def __repr__(self) -> str:
        return f"<ToolCallAssembler calls={len(self.calls)}>"

    def feed(self, deltas: Sequence[CallDelta]) -> list[CallEvent]:
        events: list[CallEvent] = []
        for delta in deltas:
            self._take(delta, events)
        return events

    def flush(self) -> list[CallEvent]:
        """The answer is over, and so are all calls."""
        events: list[CallEvent] = []
        for call in self.calls:
            self._end(call, events)
        self._by_index.clear()
        self._last = None
        return events

    def _take(self, delta: CallDelta, events: list[CallEvent]) -> None:
        function = delta.function or _NO_FUNCTION
        id = delta.id if isinstance(delta.id, str) else ""
        name = function.name if isinstance(function.name, str) else ""
        arguments = _as_text(function.arguments)
        key = delta.index if isinstance(delta.index, int | str) else None
        call = self._last if key is None else self._by_index.get(key)
        if call is None or _starts_call(call, key is not None, id, name):
            call = self._begin(key, call, id, events)
        elif id and not call.given_id and not call.started:
            call.id, call.given_id = self._unused(id), id
        call.name = call.name or name
        if delta.extra_content is not None:
            call.extras["extra_content"] = delta.extra_content
        if delta.provider_specific_fields is not None:
            call.extras["provider_specific_fields"] = delta.provider_specific_fields
        self._last = call
        self._append(key, call, call.halves.feed(arguments), events)

    def _append(self, key: Hashable, call: Call, arguments: str, events: list[CallEvent]) -> None:
        """Add arguments; behind a complete object, another one is another call of the same tool."""
        if call.extent.unfinished:
            arguments = call.anew(arguments)
        while True:
            if call.held and arguments:
                if arguments.lstrip().startswith("{"):
                    call.extent = ObjectExtent()
                else:
                    arguments = call.held + arguments
                call.held = ""
            elif call.extent.complete and arguments:
                arguments = call.beyond(arguments)
                if arguments.lstrip().startswith("{"):
                    name = call.name
                    call = self._last = self._begin(key, call, "", events)
                    call.name = name
            end = call.extent.feed(arguments)
            rest = ""
            if end >= 0 and arguments[end:].lstrip().startswith("{"):
                arguments, rest = arguments[:end], arguments[end:]
            if end >= 0 and not call.fragments and _EMPTY_OBJECT.fullmatch(arguments):
                call.held, arguments = arguments, ""
            self._add(call, arguments, events)
            if not rest:
                return
            arguments = rest

    def _add(self, call: Call, arguments: str, events: list[CallEvent]) -> None:
        if arguments:
            call.fragments.append(arguments)
        if call.started:
            if arguments:
                events.append(ArgumentsFragment(call.ordinal, arguments))
        elif call.name:
            self._start(call, events)

    def _begin(self, key: Hashable, replaced: Call | None, id: str, events: list[CallEvent]) -> Call:
        if len(self.calls) >= MAX_CALLS:
            raise UpstreamBroken(f"the upstream made more than {MAX_CALLS} tool calls in one answer")
        if replaced is not None:
            self._end(replaced, events)
        call = Call(len(self.calls), self._unused(id), id)
        self.calls.append(call)
        if key is not None:
            self._by_index[key] = call
        return call

    def _unused(self, id: str) -> str:
        return id if id and all(call.id != id for call in self.calls) else self._new_id()

    def _start(self, call: Call, events: list[CallEvent]) -> None:
        call.started = True
        events.append(CallStarted(call.ordinal, call.id, call.name))
        if call.fragments:
            events.append(ArgumentsFragment(call.ordinal, call.arguments))

    def _end(self, call: Call, events: list[CallEvent]) -> None:
        if call.ended:
            return
        self._add(call, call.held or (call.after if call.after.isspace() else ""), events)
        if not call.started:
            self._start(call, events)
        call.ended = True
        events.append(CallEnded(call.ordinal))


def _starts_call(call: Call, has_index: bool, id: str, name: str) -> bool:
    """Whether a fragment with this id and name, addressed to ``call``, is the first of another."""
    if id and call.given_id:
        return id != call.given_id and (bool(name) or call.extent.complete)
    if not name or not call.name:
        return False
    if has_index:
        # The name may be repeated on every fragment: only a complete object is surely over.
        return call.extent.complete
    if name != call.name:
        return True
    return bool(call.fragments or call.held) and not call.extent.unfinished


def _as_text(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
