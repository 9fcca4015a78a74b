"""Mixed turns (PROTOCOL.md R10): what the client did not see of the answer to its last request, put back.

An answer that ends with calls for the client may have had code calls before or beside them. Those ran here, and the
client was not shown them; when it comes back with its own results the upstream must see every call answered. They are
found again by the ids of the client's calls, together with their place: what the users of the conversation have said,
and how many answers with calls came since. Some upstreams number their calls, anew in each answer, and the code of one
conversation or answer must not turn up in another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from app.events import ChatMessage
from app.pipeline.run import KeepHidden
from app.store.hidden_calls import HiddenCalls

TTL_S = 24 * 3600


async def restored(messages: Sequence[ChatMessage], store: HiddenCalls, *, owner: str) -> list[ChatMessage]:
    """The conversation with its hidden parts. What is not remembered any more is left out, pairs of call and result
    alike."""
    keys = _keys_by_position(messages)
    kept = await store.find([key for found in keys.values() for key in found], owner=owner)
    whole: list[ChatMessage] = []
    for position, message in enumerate(messages):
        hidden = next((kept[key] for key in keys.get(position, ()) if key in kept), None)
        if hidden is None:
            whole.append(message)
        else:
            whole += hidden
    return whole


def keeper(messages: Sequence[ChatMessage], store: HiddenCalls, *, owner: str) -> KeepHidden:
    """Remembers what is hidden of the answer to ``messages``, which are the client's own."""
    place = _Position()
    for message in messages:
        place.pass_by(message)

    async def keep(call_ids: Sequence[str], hidden: Sequence[ChatMessage]) -> None:
        await store.put([place.key(id) for id in call_ids], list(hidden), owner=owner, ttl_s=TTL_S)

    return keep


def _keys_by_position(messages: Sequence[ChatMessage]) -> dict[int, list[str]]:
    """Of each assistant message with calls: the keys under which something hidden may be kept."""
    place = _Position()
    keys = {}
    for position, message in enumerate(messages):
        if _has_calls(message):
            ids = [call.get("id") for call in message["tool_calls"] if isinstance(call, Mapping)]
            keys[position] = [place.key(id) for id in ids if isinstance(id, str)]
        place.pass_by(message)
    return keys


class _Position:
    """A place in a conversation, as its client sees it.

    Of the texts only the users' count: everything else is written anew by some SDKs when they send it back. Answers
    are counted from the last user's text, since some leave the calls of earlier exchanges out.
    """

    def __init__(self) -> None:
        self._said = hashlib.sha256()
        self._answers = 0

    def pass_by(self, message: ChatMessage) -> None:
        if message.get("role") == "user":
            self._said.update(hashlib.sha256(_text(message.get("content")).encode("utf-8", "surrogatepass")).digest())
            self._answers = 0
        elif _has_calls(message):
            self._answers += 1

    def key(self, call_id: str) -> str:
        named = f"{self._answers} {call_id}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(self._said.digest() + named).hexdigest()


def _has_calls(message: ChatMessage) -> bool:
    return message.get("role") == "assistant" and isinstance(message.get("tool_calls"), list)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
