"""One answer as a message of the next request (PROTOCOL.md 1.5): fields that some upstreams want back are echoed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

#: How Mistral sends reasoning: as parts of the content. Stands where the key of other reasoning does.
THINKING = "content.thinking"
#: Fields that every client sends back.
_PLAIN = frozenset({"role", "content", "refusal", "tool_calls"})


class AssistantMessage:
    """Put together from what was read: texts in any pieces, reasoning under the key it came in.

    ``reasoning`` holds the fields of the message that are reasoning, in the upstream's own form.
    """

    def __init__(self) -> None:
        self._content: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: dict[str, list[str]] = {}
        self._details: list[Any] = []
        self._extra_content: Any = None

    def __repr__(self) -> str:
        return f"<AssistantMessage content={len(self._content)} reasoning={list(self._reasoning)}>"

    def add_content(self, text: str) -> None:
        self._content.append(text)

    def add_refusal(self, text: str) -> None:
        self._refusal.append(text)

    def add_reasoning(self, text: str, key: str) -> None:
        self._reasoning.setdefault(key, []).append(text)

    def add_detail(self, detail: Any) -> None:
        self._details.append(detail)

    def set_extra_content(self, value: Any) -> None:
        self._extra_content = value

    def whole(self, calls: list[dict[str, Any]]) -> dict[str, Any]:
        """The message; ``calls`` are its tool calls."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._content) or None}
        if self._refusal:
            message["refusal"] = "".join(self._refusal)
        message = with_reasoning(message, self.reasoning)
        if self._extra_content is not None:
            message["extra_content"] = self._extra_content
        if calls:
            message["tool_calls"] = calls
        return message

    @property
    def reasoning(self) -> dict[str, Any]:
        fields: dict[str, Any] = {key: "".join(texts) for key, texts in self._reasoning.items()}
        if self._details:
            fields["reasoning_details"] = join_details(self._details)
        return fields


def with_reasoning(message: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The message with reasoning where the upstream had sent it: in fields of its own, or in parts of the content."""
    told = {**message, **{key: value for key, value in fields.items() if key != THINKING}}
    if isinstance(thought := fields.get(THINKING), str):
        content = told.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or []
        told["content"] = [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}, *parts]
    return told


def has_echoes(message: Mapping[str, Any]) -> bool:
    """Whether an answer holds what its upstream may want back and clients tend to leave out."""
    return isinstance(message.get("content"), list) or not message.keys() <= _PLAIN


def merge_fields(total: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add what a delta holds to what those before it held: texts and lists go on, objects field by field (``audio``);
    of anything else the last counts."""
    for name, value in more.items():
        known = total.get(name)
        if isinstance(known, str) and isinstance(value, str) and name not in ("id", "type"):
            total[name] = known + value
        elif isinstance(known, list) and isinstance(value, list):
            total[name] = [*known, *value]
        elif isinstance(known, dict) and isinstance(value, dict):
            total[name] = dict(known)
            merge_fields(total[name], value)
        elif value is not None or name not in total:
            total[name] = value


def join_details(details: list[Any]) -> list[Any]:
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
