"""Whole tool calls from their fragments (PROTOCOL.md 1.3).

OpenAI sends id and name once, and then only ``{index, arguments}``. Other upstreams deviate in every field. So no field
alone tells which call a fragment belongs to: id, name, index, order and the JSON decide together. Each rule names an
upstream that needs it and has a case in ``tests/extraction/test_tool_calls.py``.

    fragment                                   belongs to
    an id that is known                        its call, at whatever index (agno#8879)
    ... with another name                      a new call: one id for all
    a new id, no name, amid a call             that call: an id for each fragment (LM Studio)
    a new id and a name, amid a call's JSON    that call, unless the text could begin an object
    a new id otherwise                         a new call, also at a used index (Ollama)
    no id, a used index                        the call there
    ... a name, behind a complete object       a new call, unless name and object are the same again
    ... text that no complete object has       the last call that is not complete
    no id, no index                            the last call; at a name behind whole arguments a new one (Gemini)
    no id, a new index, a name                 a new call, or that amid whose JSON it stands
    no id, a new index, no name                the last call that is not complete (dirac#215), also behind a finish
    a name in pieces                           joined, until the arguments begin
    a name that is repeated, or null           the first one counts

    arguments
    a complete object, then another ``{``      a new call of the same tool (LiteLLM)
    ... the same object, however spaced        left out (vLLM's parsers, proxies): code must not run twice
    a fragment that begins with all before it  only the rest of it is new (Baidu, SGLang)
    an object, not a text                      written as JSON (Ollama's kin)
    ``{}`` before the arguments                left out (Bedrock, LiteLLM over Anthropic): no call of its own
    under ``parameters``                       arguments (Llama's templates)

An index is a key and not a position: calls are numbered as they begin. A call begins with its first arguments, when
its name is whole. It ends when another call takes its place, or with the answer. Fragments of other calls may come in
between. A call that never gets a name is a further call of the tool before it; if there is none, the answer is broken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from app.errors import UpstreamBroken
from app.extraction.deltas import CallDelta, CustomDelta, FunctionDelta
from app.extraction.half_characters import HalfCharacters
from app.extraction.names import canonical_tool
from app.extraction.object_extent import ObjectExtent
from app.extraction.repetition import Repetition

#: Calls in one answer; OpenAI allows 128 tools in a request.
MAX_CALLS = 128
#: A name that comes in more than this is none.
MAX_NAME_CHARS = 1024

_NO_FUNCTION = FunctionDelta()
_NO_CUSTOM = CustomDelta()
_EMPTY_OBJECT = re.compile(r"\s*\{\s*\}\s*")

Kind = Literal["function", "custom"]


class CallNamed(NamedTuple):
    """The name, as far as it has come: a call will start."""

    ordinal: int
    name: str


class CallStarted(NamedTuple):
    ordinal: int
    id: str
    name: str


class ArgumentsFragment(NamedTuple):
    ordinal: int
    text: str


class CallEnded(NamedTuple):
    ordinal: int


CallEvent = CallNamed | CallStarted | ArgumentsFragment | CallEnded


@dataclass
class Call:
    """One tool call, as far as it has come. ``given_id`` is the upstream's, ``extras`` are fields to be echoed;
    ``held`` is an empty object that the arguments began with, until it is known to be all of them; ``again`` reads what
    follows the complete object, until it is known not to be the same again."""

    ordinal: int
    id: str
    given_id: str
    name: str = ""
    kind: Kind = "function"
    extras: dict[str, Any] = field(default_factory=dict)
    fragments: list[str] = field(default_factory=list)
    chars: int = 0
    held: str = ""
    started: bool = False
    ended: bool = False
    again: Repetition | None = field(default=None, repr=False)
    extent: ObjectExtent = field(default_factory=ObjectExtent, repr=False)
    halves: HalfCharacters = field(default_factory=HalfCharacters, repr=False)

    @property
    def arguments(self) -> str:
        return "".join(self.fragments)

    @property
    def message(self) -> dict[str, Any]:
        """The call as a message holds it."""
        text = "input" if self.kind == "custom" else "arguments"
        told = {"name": self.name, text: self.arguments}
        return {"id": self.id, "type": self.kind, self.kind: told, **self.extras}

    @property
    def complete(self) -> bool:
        """Its object is over; text that is no object never is."""
        return self.extent.complete or self.ended

    @property
    def empty(self) -> bool:
        return not self.fragments and not self.held

    def anew(self, text: str) -> str:
        """Amid the object: a fragment that is as long as all that there is, and begins like it, holds it once more.
        JSON cannot go on so."""
        return text.removeprefix(self.arguments) if text.lstrip().startswith("{") else text

    def beyond(self, text: str) -> str:
        """What follows the complete object, and was not known from it; nothing while it may be a repetition."""
        if self.again is None:
            self.again = Repetition(self.arguments)
        return self.again.feed(text)

    def goes_on_with(self, text: str) -> bool:
        """Whether this can be more of an object that is not complete, and not the beginning of one."""
        return self.extent.unfinished and bool(text) and not text.lstrip().startswith("{")


class ToolCallAssembler:
    """Fed the tool-call deltas of one answer; ``new_id`` makes the ids that upstreams leave out or use twice."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self.calls: list[Call] = []
        self._new_id = new_id
        self._by_index: dict[Hashable, Call] = {}
        self._by_id: dict[str, Call] = {}
        self._last: Call | None = None

    def __repr__(self) -> str:
        return f"<ToolCallAssembler calls={len(self.calls)}>"

    def feed(self, deltas: Sequence[CallDelta]) -> list[CallEvent]:
        events: list[CallEvent] = []
        for delta in deltas:
            self._take(delta, events)
        return events

    def flush(self) -> list[CallEvent]:
        """The answer is over, and so are all calls. What comes behind that all the same is no more of them.

        Raises:
            UpstreamBroken: there is one without a name.
        """
        events: list[CallEvent] = []
        for call in self.calls:
            self._end(call, events)
        return events

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing of any call, as far as the JSON tells."""
        return all(call.complete for call in self.calls)

    def _take(self, delta: CallDelta, events: list[CallEvent]) -> None:
        text, last = _plain_text(delta), self._last
        if text is not None and last is not None and last is self._by_index.get(delta.index) and not last.complete:
            # Most fragments, of which the rest of this says nothing else.
            self._append(delta.index, last, last.halves.feed(text), events)
            return
        id = delta.id if isinstance(delta.id, str) else ""
        key = delta.index if isinstance(delta.index, int | str) else None
        kind, name, arguments = _content(delta)
        call = self._find(key, id, name, arguments)
        if call is None:
            if not name and not id and not arguments.strip() and self.calls:
                return  # nothing, at an index of its own
            call = self._begin(key, self._by_index.get(key), id, events)
        elif id and not call.given_id and not call.started:
            call.id, call.given_id = self._unused(id), id
            self._by_id[id] = call
        if kind == "custom":
            call.kind = kind
        if name and not call.started:
            self._name(call, name, events)
        if delta.extra_content is not None:
            call.extras["extra_content"] = delta.extra_content
        if delta.provider_specific_fields is not None:
            call.extras["provider_specific_fields"] = delta.provider_specific_fields
        self._last = call
        self._append(key, call, call.halves.feed(arguments), events)

    # which call

    def _find(self, key: Hashable, id: str, name: str, text: str) -> Call | None:
        """The call that a fragment belongs to; None if it begins another. See the table above."""
        there = self._last if key is None else self._by_index.get(key)
        known = self._by_id.get(id) if id else None
        if known is not None:
            if _is_other_name(known, name, pieces=known is there):
                return None
            if key is not None:
                self._by_index.setdefault(key, known)
            return known
        if id and (there is None or there.given_id):
            return self._with_new_id(there, name, text)
        if there is not None:
            return self._there(there, key is not None, name, text)
        if not name:
            return self._open or (self._last if text.lstrip().startswith("{") else None)
        amid = self._open
        return amid if amid is not None and _is_same(amid.name, name) and amid.goes_on_with(text) else None

    def _with_new_id(self, there: Call | None, name: str, text: str) -> Call | None:
        if there is None:
            amid = self._open
            return amid if amid is not None and not name and (amid.empty or amid.goes_on_with(text)) else None
        if there.complete:
            return None
        return there if not name or (_is_same(there.name, name) and there.goes_on_with(text)) else None

    def _there(self, there: Call, has_index: bool, name: str, text: str) -> Call | None:
        if not name:
            amid = self._open if there.complete and text.strip() and not text.lstrip().startswith("{") else None
            return amid or there
        if not has_index:
            # A name may be repeated on every fragment: only behind complete arguments, or as another one, is it a call.
            if not there.name or there.extent.unfinished:
                return there
            return there if _is_same(there.name, name) and there.empty else None
        return None if there.complete and there.name and not _is_same(there.name, name) else there

    @property
    def _open(self) -> Call | None:
        """The last call that is not complete."""
        if self._last is not None and not self._last.complete:
            return self._last
        return next((call for call in reversed(self.calls) if not call.complete), None)

    # what it is

    def _name(self, call: Call, name: str, events: list[CallEvent]) -> None:
        """A name may come in pieces, each time as far as it is known, or again and again."""
        if name == call.name or (call.name and not call.empty):
            return
        whole = name if name.startswith(call.name) else call.name + name
        if len(whole) > MAX_NAME_CHARS:
            raise UpstreamBroken(f"the upstream called a tool by a name of more than {MAX_NAME_CHARS} characters")
        call.name = whole
        events.append(CallNamed(call.ordinal, whole))

    def _append(self, key: Hashable, call: Call, arguments: str, events: list[CallEvent]) -> None:
        """Add arguments; behind a complete object, another one is another call of the same tool."""
        if call.kind == "custom" or not arguments:
            self._add(call, arguments, events)
            return
        if len(arguments) >= call.chars and call.extent.unfinished:
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
                    self._name(call, name, events)
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
        if not arguments or call.ended:
            return
        call.fragments.append(arguments)
        call.chars += len(arguments)
        if call.started:
            events.append(ArgumentsFragment(call.ordinal, arguments))
        elif call.name:
            self._start(call, events)

    def _begin(self, key: Hashable, replaced: Call | None, id: str, events: list[CallEvent]) -> Call:
        if len(self.calls) >= MAX_CALLS:
            raise UpstreamBroken(f"the upstream made more than {MAX_CALLS} tool calls in one answer")
        if replaced is not None and replaced.name:
            self._end(replaced, events)
        call = Call(len(self.calls), self._unused(id), id)
        self.calls.append(call)
        if key is not None:
            self._by_index[key] = call
        if id:
            self._by_id[id] = call
        return call

    def _unused(self, id: str) -> str:
        return id if id and all(call.id != id for call in self.calls) else self._new_id()

    def _start(self, call: Call, events: list[CallEvent]) -> None:
        """Those that began before it start before it: their names are whole by now."""
        for earlier in self.calls[: call.ordinal]:
            if earlier.name and not earlier.started:
                self._start(earlier, events)
        call.started = True
        events.append(CallStarted(call.ordinal, call.id, call.name))
        if call.fragments:
            events.append(ArgumentsFragment(call.ordinal, call.arguments))

    def _end(self, call: Call, events: list[CallEvent]) -> None:
        if call.ended:
            return
        behind = call.again.held if call.again is not None else ""
        self._add(call, call.held or (behind if behind.isspace() else ""), events)
        if not call.started:
            if not call.name:
                if not call.arguments.strip():  # nothing was ever said of it
                    call.ended = True
                    return
                call.name = next((other.name for other in self.calls[: call.ordinal][::-1] if other.name), "")
            if not call.name:
                raise UpstreamBroken("the upstream called a tool without naming it")
            self._start(call, events)
        call.ended = True
        events.append(CallEnded(call.ordinal))


def _plain_text(delta: CallDelta) -> str | None:
    """The text of a fragment with an index that has nothing but text."""
    function = delta.function
    if (
        function is not None
        and type(function.arguments) is str
        and not delta.id
        and not function.name
        and type(delta.index) is int
        and delta.custom is None
        and delta.extra_content is None
        and delta.provider_specific_fields is None
    ):
        return function.arguments
    return None


def _content(delta: CallDelta) -> tuple[Kind, str, str]:
    """Kind, name and text of a fragment."""
    if delta.custom is not None:
        custom = delta.custom or _NO_CUSTOM
        return "custom", _as_name(custom.name), _as_text(custom.input)
    function = delta.function or _NO_FUNCTION
    arguments = function.parameters if function.arguments is None else function.arguments
    return "function", _as_name(function.name), _as_text(arguments)


def _is_same(name: str, other: str) -> bool:
    return name == other or canonical_tool(name) == canonical_tool(other)


def _is_other_name(call: Call, name: str, *, pieces: bool) -> bool:
    """Whether a fragment with the id of ``call`` is of another all the same, because of its name. It may be a piece of
    the name while that is not whole."""
    if not name or not call.name or _is_same(call.name, name):
        return False
    return not (pieces and call.empty)


def _as_name(name: Any) -> str:
    return name if isinstance(name, str) else ""


def _as_text(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
