"""Answers as one Markdown text: for front ends that were not written for us (``app/render``).

What the model knows of such an answer is more than the text says. It is remembered under the ids that the markers in
the text name, and put back when the conversation comes again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from app.api.shared.links import Links
from app.api.turn_texts import OnlyJson, Paragraphs, TurnTexts, is_parsed
from app.errors import StorageError
from app.events import ChatMessage, Event
from app.gateway import Gateway
from app.pipeline.emitter import SendEvent
from app.pipeline.run import RunOptions
from app.render.answer import MarkdownAnswer
from app.render.code_blocks import Style
from app.render.way_back import HiddenTurn, restored_conversation, turns_named
from app.store.hidden_calls import HiddenCalls

#: Conversations are gone on with for so long.
TTL_S = 30 * 24 * 3600
#: Who stops an answer and asks on finds its code ending. It is given 0.5 s, and then its interpreter is killed.
BUSY_S = 5
#: Turns of one conversation that are looked up: the latest ones.
MAX_TURNS = 500


@dataclass(frozen=True)
class Remembered:
    """A conversation as the model knows it, and the session that its code ran in last."""

    messages: list[ChatMessage]
    session: str | None


async def remembered(messages: Sequence[ChatMessage], store: HiddenCalls, *, owner: str) -> Remembered:
    """The conversation of a client, with what its markers stand for put back."""
    named = list(dict.fromkeys(id for message in messages for id in _named_in(message)))[-MAX_TURNS:]
    kept = await store.find([_key(id) for id in named], owner=owner) if named else {}
    turns = {id: msgspec.convert(kept[_key(id)], HiddenTurn) for id in named if _key(id) in kept}
    session = next((turns[id].session for id in reversed(named) if id in turns and turns[id].session), None)
    return Remembered(restored_conversation(messages, turns), session)


def _named_in(message: ChatMessage) -> Iterable[str]:
    content = message.get("content")
    return turns_named(content) if message.get("role") == "assistant" and isinstance(content, str) else ()


def _key(id: str) -> str:
    return f"render {id}"


async def session_of(conversation: Remembered, gateway: Gateway, *, owner: str) -> str:
    """The name of the session in which the conversation goes on, which nobody has asked to keep: the one of its last
    code, or a new one where another answer is using that (two answers side by side), or another gateway holds it."""
    if (name := conversation.session) and await gateway.may_use(name, owner=owner, wait_s=BUSY_S):
        return name
    return f"conversation {secrets.token_hex(12)}"


class PlainAnswer:
    """Sends an answer in the words of the model, of which nothing has to be remembered."""

    keep_turn: Final = None

    def __init__(self, send: SendEvent, response_format: Mapping[str, Any] | None) -> None:
        self._send = send
        self._texts: TurnTexts = OnlyJson() if is_parsed(response_format) else Paragraphs()

    async def show(self, event: Event) -> None:
        for shown in self._texts.feed(event):
            await self._send(shown)


@dataclass
class RenderedAnswer:
    """Sends an answer as Markdown. ``session`` is what the conversation calls the session that its code runs in."""

    send: SendEvent
    links: Links
    store: HiddenCalls
    owner: str
    session: str
    answer: MarkdownAnswer = field(repr=False)

    async def show(self, event: Event) -> None:
        for shown in self.answer.feed(event, await self.links.of(event)):
            await self.send(shown)

    async def keep_turn(self, turn: int, messages: Sequence[ChatMessage]) -> None:
        """Remember what the model knows of a turn with code."""
        hidden = self.answer.hidden(turn, messages, self.session)
        if hidden is not None:
            id, kept = hidden
            with suppress(StorageError):  # which has been logged: the next question is answered from the text
                await self.store.put([_key(id)], msgspec.to_builtins(kept), owner=self.owner, ttl_s=TTL_S)


def markdown_answer(style: Style, options: RunOptions) -> MarkdownAnswer:
    """For one request with these options."""
    return MarkdownAnswer(
        style,
        new_id=lambda: secrets.token_urlsafe(9),
        sources=options.sources,
        tools=options.tools,
        repairs=options.on_error == "repair",
    )
