"""Mixed turns (PROTOCOL.md R10): what the client did not see of the answer to its last request, put back.

An answer that ends with calls for the client may have had code calls before or beside them. Those ran here, and the
client was not shown them; when it comes back with its own results the upstream must see every call answered. They are
found again by the ids of the client's calls, together with what the users of the conversation have said: some
upstreams number their calls, and one conversation's code must not turn up in another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from app.pipeline.follow_up import Message
from app.pipeline.run import KeepHidden
from app.store.hidden_calls import HiddenCalls

TTL_S = 24 * 3600


async def restored(messages: Sequence[Message], store: HiddenCalls, *, owner: str) -> list[Message]:
    """The conversation with its hidden parts. What is not remembered any more is left out, pairs of call and result
    alike."""
    keys = _keys_by_position(messages)
    kept = await store.find([key for found in keys.values() for key in found], owner=owner)
    whole: list[Message] = []
    for position, message in enumerate(messages):
        hidden = next((kept[key] for key in keys.get(position, ()) if key in kept), None)
        if hidden is None:
            whole.append(message)
        else:
            whole += hidden
    return whole


def keeper(messages: Sequence[Message], store: HiddenCalls, *, owner: str) -> KeepHidden:
    """Remembers what is hidden of the answer to ``messages``, which are the client's own."""
    said = hashlib.sha256()
    for message in messages:
        _add_said(said, message)

    async def keep(call_ids: Sequence[str], hidden: Sequence[Message]) -> None:
        await store.put([_key(said, id) for id in call_ids], list(hidden), owner=owner, ttl_s=TTL_S)

    return keep


def _keys_by_position(messages: Sequence[Message]) -> dict[int, list[str]]:
    """Of each assistant message with calls: the keys under which something hidden may be kept."""
    said = hashlib.sha256()
    keys = {}
    for position, message in enumerate(messages):
        calls = message.get("tool_calls")
        if message.get("role") == "assistant" and isinstance(calls, list):
            ids = [call.get("id") for call in calls if isinstance(call, Mapping)]
            keys[position] = [_key(said, id) for id in ids if isinstance(id, str)]
        _add_said(said, message)
    return keys


def _key(said: hashlib._Hash, call_id: str) -> str:
    return hashlib.sha256(said.digest() + call_id.encode("utf-8", "surrogatepass")).hexdigest()


def _add_said(said: hashlib._Hash, message: Message) -> None:
    """Only users' text counts: everything else is written anew by some SDKs when they send it back."""
    if message.get("role") == "user":
        said.update(hashlib.sha256(_text(message.get("content")).encode("utf-8", "surrogatepass")).digest())


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""
