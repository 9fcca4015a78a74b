"""One upstream answer, read: text for the client, code for the sandbox, calls for the client (PROTOCOL.md 3).

A turn with a code tool call ignores fences and tags in its content, from that call on (3.5). Content is always passed
on as it came; code found in it is told in addition.

The end of the arguments' JSON ends a call's code. Where there is none (bare code, an unclosed object), the end of the
answer does: behind a finish reason there may be more of it. ``length`` and ``content_filter`` mean that the last call
was cut off: its code is not ``complete``, and the tail of it, which may look like a whole statement, must not run. So
does the end of an answer without any reason for a call that is amid a text of its JSON; the reason is ``length`` then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.errors import UpstreamBroken
from app.extraction.arguments import CODE_KEYS, CodeArguments
from app.extraction.assistant_message import AssistantMessage
from app.extraction.deltas import Delta
from app.extraction.fence import FenceReader, SnippetEnd, SnippetEvent, SnippetStart, SnippetText
from app.extraction.half_characters import HalfCharacters
from app.extraction.names import CODE_TOOLS, canonical_tool, is_code_tool, meant_tool, runs_here
from app.extraction.tags import TagReader
from app.extraction.thoughts import WithoutThoughts
from app.extraction.tool_calls import (
    ArgumentsFragment,
    Call,
    CallEvent,
    CallNamed,
    CallStarted,
    ToolCallAssembler,
)
from app.extraction.turn_items import (
    CodeEnded,
    CodeStarted,
    CodeText,
    ContentText,
    ExtraFields,
    FieldsBeside,
    Finish,
    ForeignCall,
    ForeignFragment,
    ReasoningText,
    RefusalText,
    RefusedCall,
    TurnItem,
    UsageReport,
)

#: Everything one answer may hold; the longest outputs of models are some 128k tokens.
MAX_CHARS = 16 * 1024 * 1024
#: Names that an answer may tell beside its deltas, and again of its choice.
MAX_FIELDS_BESIDE = 64

_TRUNCATED = frozenset({"length", "content_filter"})


@dataclass
class _CodeCall:
    """A tool call whose arguments hold code, or so its name says."""

    call: Call
    arguments: CodeArguments
    language: str = ""  # set when its code has begun
    ended: bool = False
    fragments: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)


class TurnReader:
    """Fed the deltas of one answer; items come in the order of the stream.

    Args:
        sources: where code is looked for: ``tool``, ``fence``, ``tag``.
        tools: names of code tools; None: the usual ones.
        new_id: makes ids for code in content, and for calls without one.
        code_keys: by canonical name of the tool, the argument that holds the code, where it is known.
        own_tools: canonical names of the tools that the client has not declared. Their calls are never the client's.
        declared: all names that the model was told, as they were.

    Attributes:
        expects_code: true from the first sign of code on: the name of a tool, the opening of a fence or tag.
    """

    def __init__(
        self,
        sources: Collection[str] = ("tool", "fence", "tag"),
        tools: Collection[str] | None = None,
        *,
        new_id: Callable[[], str],
        code_keys: Mapping[str, str] | None = None,
        own_tools: Collection[str] = (),
        declared: Collection[str] = (),
    ) -> None:
        self.expects_code = False
        self._declared = declared
        self._code_keys = code_keys or {}
        self._own_tools = own_tools
        names = CODE_TOOLS if tools is None else frozenset(map(canonical_tool, tools))
        self._tools = names if "tool" in sources else frozenset[str]()
        self._new_id = new_id
        self._assembler = ToolCallAssembler(new_id)
        self._code_calls: dict[int, _CodeCall] = {}
        self._blocks: TagReader | FenceReader | None = None
        if "tag" in sources:
            self._blocks = TagReader(names, fences="fence" in sources)
        elif "fence" in sources:
            self._blocks = FenceReader()
        self._scanned = WithoutThoughts()
        self._block_id = ""  # of the open block in content, or the last one
        self._in_block = False
        self._finish_reason: str | None = None
        self._told = False
        self._chars = 0
        self._message = AssistantMessage()
        self._content_halves = HalfCharacters()
        self._reasoning_halves = HalfCharacters()
        self._refusal_halves = HalfCharacters()
        self._choice_fields: dict[str, Any] = {}
        self._answer_fields: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<TurnReader calls={len(self._assembler.calls)} finish_reason={self._finish_reason!r}>"

    def feed(self, delta: Delta) -> list[TurnItem]:
        items: list[TurnItem] = []
        if delta.content:
            self._read_content(self._content_halves.feed(delta.content), delta.logprobs, items)
        if delta.tool_calls:
            self._read_calls(self._assembler.feed(delta.tool_calls), items)
        if delta.reasoning or delta.refusal or delta.extra_content is not None:
            self._read_rest(delta, items)
        if delta.reasoning_details or delta.extras:
            self._read_extras(delta, items)
        if delta.answer_fields is not None:
            _keep(delta.answer_fields, self._answer_fields)
        if delta.choice_fields is not None:
            _keep(delta.choice_fields, self._choice_fields)
        if delta.finish_reason is not None:
            self._finish(delta.finish_reason, items)
        if delta.usage is not None:
            items.append(UsageReport(delta.usage))
        return items

    def flush(self) -> list[TurnItem]:
        """The stream is over, and all that is open in it.

        Raises:
            UpstreamBroken: it holds a call without a name.
        """
        items: list[TurnItem] = []
        reason = self._finish_reason or self._missing_reason()
        self._close(reason, items)
        if not self._told:
            self._tell(reason, items)
        if self._choice_fields or self._answer_fields:
            items.append(FieldsBeside(self._choice_fields, self._answer_fields))
        return items

    def _finish(self, reason: str, items: list[TurnItem]) -> None:
        """A reason is the end, unless something is not whole: more of it may come, and does where each delta has a
        reason. A limit counts in any case."""
        if self._finish_reason is None or reason in _TRUNCATED:
            self._finish_reason = reason
        elif self._told:
            return
        if not self._in_block and self._assembler.is_whole:
            self._close(self._finish_reason, items)
            self._tell(self._finish_reason, items)

    def _tell(self, reason: str, items: list[TurnItem]) -> None:
        self._told = True
        items.append(Finish(reason))

    def _close(self, reason: str, items: list[TurnItem]) -> None:
        if text := self._content_halves.flush():
            self._read_content(text, None, items)
        truncated = reason in _TRUNCATED
        if self._blocks is not None:
            self._read_blocks(self._blocks.flush(), not truncated, items)
            self._blocks = None
        last = self._assembler.calls[-1] if truncated and self._assembler.calls else None
        self._read_calls(self._assembler.flush(), items, last)

    def _missing_reason(self) -> str:
        calls = self._assembler.calls
        if any(call.extent.in_string for call in calls if not call.ended):
            return "length"
        return "tool_calls" if calls else "stop"

    def assistant_message(self) -> dict[str, Any]:
        """This turn as a message of the next request (1.5): arguments that are no JSON are written anew, because some
        upstreams refuse a history that holds them; fields some upstreams want back are echoed."""
        return self._message.whole([self._call_message(call) for call in self._assembler.calls if call.started])

    def _call_message(self, call: Call) -> dict[str, Any]:
        message = call.message
        code_call = self._code_calls.get(call.ordinal)
        if code_call is not None and not _is_json_object(call.arguments):
            key = self._code_keys.get(canonical_tool(call.name), "code")
            arguments = json.dumps({key: "".join(code_call.code)}, ensure_ascii=False)
            message["function"] = {"name": call.name, "arguments": arguments}
        return message

    # content

    def _read_content(self, text: str, logprobs: Any, items: list[TurnItem]) -> None:
        if not text:
            return
        self._count(text)
        self._message.add_content(text)
        items.append(ContentText(text, logprobs))
        if self._blocks is not None and (text := self._scanned.feed(text)):
            self._read_blocks(self._blocks.feed(text), True, items)

    def _read_blocks(self, events: Sequence[SnippetEvent], complete: bool, items: list[TurnItem]) -> None:
        for event in events:
            match event:
                case SnippetText(text):
                    items.append(CodeText(self._block_id, text))
                case SnippetStart(language, source):
                    self._in_block = self.expects_code = True
                    self._block_id = self._new_id()
                    items.append(CodeStarted(self._block_id, source, language, ""))
                case SnippetEnd():
                    self._in_block = False
                    items.append(CodeEnded(self._block_id, complete))

    def _read_rest(self, delta: Delta, items: list[TurnItem]) -> None:
        if delta.reasoning and (text := self._reasoning_halves.feed(delta.reasoning)):
            self._count(text)
            self._message.add_reasoning(text, delta.reasoning_key)
            items.append(ReasoningText(text, delta.reasoning_key))
        if delta.refusal and (text := self._refusal_halves.feed(delta.refusal)):
            self._count(text)
            self._message.add_refusal(text)
            items.append(RefusalText(text, None if delta.content else delta.logprobs))
        if delta.extra_content is not None:
            self._message.set_extra_content(delta.extra_content)

    def _read_extras(self, delta: Delta, items: list[TurnItem]) -> None:
        fields = delta.extras
        if delta.reasoning_details:
            fields = {"reasoning_details": delta.reasoning_details, **fields}
            for detail in delta.reasoning_details:
                self._message.add_detail(detail)
        self._count(str(fields))
        items.append(ExtraFields(fields))

    def _count(self, text: str) -> None:
        self._chars += len(text)
        if self._chars > MAX_CHARS:
            raise UpstreamBroken(f"the upstream's answer is longer than {MAX_CHARS} characters")

    # tool calls

    def _read_calls(self, events: Sequence[CallEvent], items: list[TurnItem], truncated: Call | None = None) -> None:
        for event in events:
            call = self._assembler.calls[event.ordinal]
            code_call = self._code_calls.get(event.ordinal)
            match event:
                case ArgumentsFragment(_, text):
                    self._count(text)
                    if code_call is None:
                        items.append(ForeignFragment(call.id, call.name, text, call.kind))
                    else:
                        self._read_code(code_call, text, items)
                case CallNamed():
                    self.expects_code = self.expects_code or self._is_code(call)
                case CallStarted():
                    call.name = meant_tool(call.name, self._declared, self._tools)
                    if self._is_code(call):
                        self._code_calls[event.ordinal] = _CodeCall(call, self._new_arguments(call.name))
                        self._stop_blocks(items)
                    else:
                        items.append(ForeignFragment(call.id, call.name, "", call.kind))
                case _ if code_call is not None:
                    self._end_code(code_call, call is not truncated, items)
                case _:
                    items.append(_foreign(call, complete=call is not truncated))

    def _is_code(self, call: Call) -> bool:
        name = meant_tool(call.name, self._declared, self._tools)
        return call.kind == "function" and is_code_tool(name, self._tools)

    def _new_arguments(self, name: str) -> CodeArguments:
        known = self._code_keys.get(canonical_tool(name))
        return CodeArguments() if known is None else CodeArguments((known, *CODE_KEYS))

    def _read_code(self, code_call: _CodeCall, fragment: str, items: list[TurnItem]) -> None:
        arguments = code_call.arguments
        code_call.fragments.append(fragment)
        text = arguments.feed(fragment)
        if code_call.ended or not self._stays_code(code_call, items):
            return
        if arguments.complete:
            text += arguments.flush()
        if text or arguments.complete:
            self._add_code(code_call, text, items)
        if arguments.complete:
            code_call.ended = True
            items.append(CodeEnded(code_call.call.id, True))

    def _end_code(self, code_call: _CodeCall, complete: bool, items: list[TurnItem]) -> None:
        if code_call.ended:
            return
        text = code_call.arguments.flush()
        if not self._stays_code(code_call, items):
            if not code_call.ended:
                items.append(_foreign(code_call.call, complete=complete))
            return
        self._add_code(code_call, text, items)
        code_call.ended = True
        items.append(CodeEnded(code_call.call.id, complete))

    def _add_code(self, code_call: _CodeCall, text: str, items: list[TurnItem]) -> None:
        call = code_call.call
        if not code_call.language:
            code_call.language = code_call.arguments.language or "python"
            items.append(CodeStarted(call.id, "tool", code_call.language, call.name))
        if text:
            code_call.code.append(text)
            items.append(CodeText(call.id, text))

    def _stays_code(self, code_call: _CodeCall, items: list[TurnItem]) -> bool:
        """Whether the call is ours to run, now that its language may be known. If not it becomes the client's, or is
        refused where the client knows no such tool."""
        language = code_call.arguments.language
        if language is None or (runs_here(language) and code_call.language in ("", language)):
            return True
        call = code_call.call
        if code_call.language:
            items.append(CodeEnded(call.id, False))
        if canonical_tool(call.name) in self._own_tools:
            code_call.ended = True
            items.append(RefusedCall(call.id, call.name, language))
            return False
        del self._code_calls[call.ordinal]
        items.append(ForeignFragment(call.id, call.name, "".join(code_call.fragments)))
        return False

    def _stop_blocks(self, items: list[TurnItem]) -> None:
        """Code in content does not count any more; a block that is still open was not finished."""
        self._blocks = None
        if self._in_block:
            self._in_block = False
            items.append(CodeEnded(self._block_id, False))


def _foreign(call: Call, *, complete: bool) -> ForeignCall:
    return ForeignCall(call.id, call.name, call.arguments, complete, call.extras, call.kind)


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _keep(fields: dict[str, Any], kept: dict[str, Any]) -> None:
    """The latest value of each name; of an upstream that invents names without end, the first ones."""
    for name, value in fields.items():
        if name in kept or len(kept) < MAX_FIELDS_BESIDE:
            kept[name] = value
