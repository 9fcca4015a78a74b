"""One upstream answer, read: text for the client, code for the sandbox, calls for the client (PROTOCOL.md 3).

A turn with a code tool call ignores fences and tags in its content, from that call on (3.5). Content is always passed
on as it came; code found in it is told in addition.

The end of the arguments' JSON ends a call's code. Where there is none (bare code, an unclosed object), the finish
reason does; ``length`` and ``content_filter`` mean that the last call was cut off: its code is not ``complete``, and
the tail of it, which may look like a whole statement, must not run.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.errors import UpstreamBroken
from app.extraction.arguments import CODE_KEYS, CodeArguments
from app.extraction.deltas import Delta
from app.extraction.fence import FenceReader, SnippetEvent, SnippetStart, SnippetText
from app.extraction.half_characters import HalfCharacters
from app.extraction.names import CODE_TOOLS, canonical_tool, is_code_tool, runs_here
from app.extraction.tags import TagReader
from app.extraction.thoughts import WithoutThoughts
from app.extraction.tool_calls import ArgumentsFragment, Call, CallEvent, CallStarted, ToolCallAssembler
from app.extraction.turn_items import (
    CodeEnded,
    CodeStarted,
    CodeText,
    ContentText,
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

    ``sources`` are where code is looked for (``tool``, ``fence``, ``tag``), ``tools`` the names of code tools (None:
    the usual ones), ``code_keys`` the argument that holds the code, by canonical name of the tool, where it is known;
    ``own_tools`` the canonical names of those that the client has not declared: a call of theirs is never the client's;
    ``new_id`` makes ids for code in content and for calls without one.

    ``expects_code`` from the first sign of code on: the name of a tool, the opening of a fence or tag.
    """

    def __init__(
        self,
        sources: Collection[str] = ("tool", "fence", "tag"),
        tools: Collection[str] | None = None,
        *,
        new_id: Callable[[], str],
        code_keys: Mapping[str, str] | None = None,
        own_tools: Collection[str] = (),
    ) -> None:
        self.expects_code = False
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
        self._chars = 0
        self._content: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: dict[str, list[str]] = {}
        self._reasoning_details: list[Any] = []
        self._extra_content: Any = None
        self._content_halves = HalfCharacters()
        self._reasoning_halves = HalfCharacters()
        self._refusal_halves = HalfCharacters()

    def __repr__(self) -> str:
        return f"<TurnReader calls={len(self._assembler.calls)} finish_reason={self._finish_reason!r}>"

    def feed(self, delta: Delta) -> list[TurnItem]:
        items: list[TurnItem] = []
        if delta.content:
            self._read_content(self._content_halves.feed(delta.content), delta.logprobs, items)
        if delta.tool_calls:
            self._read_calls(self._assembler.feed(delta.tool_calls), items)
        if delta.reasoning or delta.refusal or delta.reasoning_details or delta.extra_content is not None:
            self._read_rest(delta, items)
        if delta.finish_reason is not None and self._finish_reason is None:
            self._finish(delta.finish_reason, items)
        if delta.usage is not None:
            items.append(UsageReport(delta.usage))
        return items

    def flush(self) -> list[TurnItem]:
        """The stream is over. Does nothing more than close what came behind a finish reason, if there was one."""
        items: list[TurnItem] = []
        if self._finish_reason is None:
            self._finish("tool_calls" if self._assembler.calls else "stop", items)
        else:
            self._close(self._finish_reason, items)
        return items

    def assistant_message(self) -> dict[str, Any]:
        """This turn as a message of the next request (1.5): arguments that are no JSON are written anew, because some
        upstreams refuse a history that holds them; fields some upstreams want back are echoed."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._content) or None}
        if self._refusal:
            message["refusal"] = "".join(self._refusal)
        for key, texts in self._reasoning.items():
            message[key] = "".join(texts)
        if self._reasoning_details:
            message["reasoning_details"] = _join_details(self._reasoning_details)
        if self._extra_content is not None:
            message["extra_content"] = self._extra_content
        if self._assembler.calls:
            message["tool_calls"] = [self._call_message(call) for call in self._assembler.calls]
        return message

    def _call_message(self, call: Call) -> dict[str, Any]:
        arguments = call.arguments
        code_call = self._code_calls.get(call.ordinal)
        if code_call is not None and not _is_json_object(arguments):
            key = self._code_keys.get(canonical_tool(call.name), "code")
            arguments = json.dumps({key: "".join(code_call.code)}, ensure_ascii=False)
        function = {"name": call.name, "arguments": arguments}
        return {"id": call.id, "type": "function", "function": function, **call.extras}

    # content

    def _read_content(self, text: str, logprobs: Any, items: list[TurnItem]) -> None:
        if not text:
            return
        self._count(text)
        self._content.append(text)
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
                case _:
                    self._in_block = False
                    items.append(CodeEnded(self._block_id, complete))

    def _read_rest(self, delta: Delta, items: list[TurnItem]) -> None:
        if delta.reasoning and (text := self._reasoning_halves.feed(delta.reasoning)):
            self._count(text)
            self._reasoning.setdefault(delta.reasoning_key, []).append(text)
            items.append(ReasoningText(text, delta.reasoning_key))
        if delta.refusal and (text := self._refusal_halves.feed(delta.refusal)):
            self._count(text)
            self._refusal.append(text)
            items.append(RefusalText(text, None if delta.content else delta.logprobs))
        if delta.extra_content is not None:
            self._extra_content = delta.extra_content
        for detail in delta.reasoning_details:
            self._count(str(detail))
            self._reasoning_details.append(detail)

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
                        items.append(ForeignFragment(call.id, call.name, text))
                    else:
                        self._read_code(code_call, text, items)
                case CallStarted(_, id, name) if is_code_tool(name, self._tools):
                    self.expects_code = True
                    self._code_calls[event.ordinal] = _CodeCall(call, self._new_arguments(name))
                    self._stop_blocks(items)
                case CallStarted(_, id, name):
                    items.append(ForeignFragment(id, name, ""))
                case _ if code_call is not None:
                    self._end_code(code_call, call is not truncated, items)
                case _:
                    items.append(ForeignCall(call.id, call.name, call.arguments, call is not truncated, call.extras))

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
            call = code_call.call
            if not code_call.ended:
                items.append(ForeignCall(call.id, call.name, call.arguments, complete, call.extras))
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

    # the end

    def _finish(self, reason: str, items: list[TurnItem]) -> None:
        if text := self._content_halves.flush():
            self._read_content(text, None, items)
        self._finish_reason = reason
        self._close(reason, items)
        items.append(Finish(reason))

    def _close(self, reason: str, items: list[TurnItem]) -> None:
        truncated = reason in _TRUNCATED
        if self._blocks is not None:
            self._read_blocks(self._blocks.flush(), not truncated, items)
            self._blocks = None
        last = self._assembler.calls[-1] if truncated and self._assembler.calls else None
        self._read_calls(self._assembler.flush(), items, last)


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _join_details(details: list[Any]) -> list[Any]:
    """Reasoning details as a message holds them: fragments in a row of the same one (OpenRouter counts them by
    ``index``) are one."""
    joined: list[Any] = []
    for key, group in itertools.groupby(details, _detail_key):
        if key is None:
            joined += group
            continue
        fragments = list(group)
        whole = {name: value for part in fragments for name, value in part.items() if value is not None}
        for name in ("text", "summary", "data"):
            if isinstance(whole.get(name), str):
                whole[name] = "".join(str(part.get(name) or "") for part in fragments)
        joined.append(whole)
    return joined


def _detail_key(detail: Any) -> tuple[Any, Any] | None:
    if not isinstance(detail, dict) or detail.get("index") is None:
        return None
    return detail.get("type"), detail["index"]
