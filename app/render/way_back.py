"""From a text that a client sends back to the messages that the model wrote and read.

A client keeps one text where there were several messages: the model's words, and behind them what we added about its
code. ``split`` finds both; ``restore`` puts the messages of each turn back where nothing of what was added has
been changed. Whatever is not as we sent it (edited, cut, quoted, put together from pieces, kept by another gateway)
stays what it is: text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from app.events import ChatMessage
from app.render.markers import find_markers, has_markers, without_markers


class AddedText(msgspec.Struct):
    """One piece of what was added in a turn. ``closer`` stood before it: it ended what the model had left open."""

    digest: str
    closer: str = ""


class HiddenTurn(msgspec.Struct):
    """A turn as the model knows it. ``messages``: its answer, and what it was told of its code. ``words`` is the digest
    of its text as the client had it; ``withheld`` what was not shown of it, for its code was shown instead; ``session``
    where its code ran."""

    messages: list[ChatMessage]
    added: list[AddedText]
    words: str
    session: str = ""
    withheld: str = ""


class Words(NamedTuple):
    text: str


class Added(NamedTuple):
    """``text`` without its markers, ``whole`` with what stands around it."""

    turn: str
    part: int
    text: str
    whole: str


class NextTurn(NamedTuple):
    turn: str
    whole: str


TextPart = Words | Added | NextTurn


def digest(text: str) -> str:
    """Of text as front ends keep it: they trim it, and know one line end."""
    return hashlib.sha256(text.replace("\r\n", "\n").strip().encode("utf-8", "surrogatepass")).hexdigest()[:32]


def turns_named(text: str) -> list[str]:
    """Ids of the turns that something in the text says it is of, in order."""
    return list(dict.fromkeys(mark.turn for mark in find_markers(_one_line_end(text)))) if has_markers(text) else []


def split(text: str) -> list[TextPart]:
    """The pieces of a text, in order. A marker without its partner is left in the words."""
    text = _one_line_end(text)
    marks = list(find_markers(text))
    ends = {(mark.turn, mark.part): mark for mark in reversed(marks) if mark.edge == "out"}
    pieces: list[TextPart] = []
    position = 0

    def words_up_to(end: int) -> None:
        if end > position:
            pieces.append(Words(text[position:end]))

    for mark in marks:
        if mark.start < position and mark.edge == "in" and mark.end <= position:
            continue  # inside of what was added
        if mark.edge == "next" and mark.end > position:
            words_up_to(mark.start)
            pieces.append(NextTurn(mark.turn, text[max(mark.start, position) : mark.end]))
            position = mark.end
        elif mark.edge == "in":
            end = ends.get((mark.turn, mark.part))
            if end is not None and end.start >= mark.end - 2:
                words_up_to(mark.start)
                whole = text[max(mark.start, position) : end.end]
                pieces.append(Added(mark.turn, mark.part, text[mark.end : end.start], whole))
                position = end.end
    words_up_to(len(text))
    return pieces


def restore(message: ChatMessage, turns: Mapping[str, HiddenTurn]) -> list[ChatMessage]:
    """The messages that stand behind an assistant's message of a client. ``turns`` are those that we remember."""
    content = message.get("content")
    if not isinstance(content, str) or not has_markers(content):
        return [message]
    pieces = _without_foreign(split(content), turns)
    if not any(isinstance(piece, Added) for piece in pieces):
        return _with_text(message, without_markers(_text_of(pieces)))
    messages: list[ChatMessage] = []
    words = ""
    turn = _RestoredTurn()
    for piece in pieces:
        match piece:
            case Words(text):
                words += text
            case Added(id, part):
                if turn.id not in ("", id):
                    messages += turn.messages(turns)
                    turn = _RestoredTurn()
                hidden = turns[id]
                closer = hidden.added[part].closer
                turn.id, turn.words = id, turn.words + words.removesuffix(closer)
                words = ""
            case NextTurn():
                turn.words += words
                words = ""
                messages += turn.messages(turns)
                turn = _RestoredTurn()
    if turn.id and turn.is_last(words, turns):
        turn.words, words = turn.words + words, ""
    messages += turn.messages(turns)
    return [*messages, *_with_text(message, without_markers(words))]


def restored_conversation(messages: Sequence[ChatMessage], turns: Mapping[str, HiddenTurn]) -> list[ChatMessage]:
    """A conversation as the model knows it. Each turn is put back once; what others say of it is read without markers,
    which no front end shows either."""
    left = dict(turns)
    restored: list[ChatMessage] = []
    for message in messages:
        content = message.get("content")
        if message.get("role") == "assistant" and isinstance(content, str):
            restored += restore(message, left)
            for id in turns_named(content):
                left.pop(id, None)
        elif isinstance(content, str):
            restored.append({**message, "content": without_markers(content)})
        elif isinstance(content, list):
            restored.append({**message, "content": [_part_without_markers(part) for part in content]})
        else:
            restored.append(message)
    return restored


def _part_without_markers(part: Any) -> Any:
    text = part.get("text") if isinstance(part, dict) else None
    return {**part, "text": without_markers(text)} if isinstance(text, str) else part


@dataclass
class _RestoredTurn:
    id: str = ""
    words: str = ""

    def is_last(self, rest: str, turns: Mapping[str, HiddenTurn]) -> bool:
        """Whether ``rest``, behind all that was added, is of this turn: no other one followed then."""
        return bool(rest) and digest(self.words + rest) == turns[self.id].words

    def messages(self, turns: Mapping[str, HiddenTurn]) -> list[ChatMessage]:
        if not self.id:
            return [{"role": "assistant", "content": words}] if (words := self.words.strip()) else []
        hidden = turns[self.id]
        answer, *told = hidden.messages
        if digest(self.words) != hidden.words:  # the words were edited: they are the user's to choose
            words = "\n".join(filter(None, (without_markers(self.words).strip(), hidden.withheld)))
            answer = {**answer, "content": words or None}
        return [answer, *told]


def _without_foreign(pieces: Sequence[TextPart], turns: Mapping[str, HiddenTurn]) -> list[TextPart]:
    """With what is not as we remember it told as words."""
    known = [piece for piece in pieces if isinstance(piece, Added) and _is_ours(piece, turns)]
    ours = {piece.turn for piece in known}
    # A turn of which a piece is missing or was changed is text as a whole: half of its calls would have no answer.
    whole = {
        turn for turn in ours if len({piece.part for piece in known if piece.turn == turn}) == len(turns[turn].added)
    }
    return list(_joined(_kept(piece, whole) for piece in pieces))


def _kept(piece: TextPart, whole: Collection[str]) -> TextPart:
    return piece if isinstance(piece, Words) or piece.turn in whole else Words(piece.whole)


def _is_ours(piece: Added, turns: Mapping[str, HiddenTurn]) -> bool:
    hidden = turns.get(piece.turn)
    return (
        hidden is not None and piece.part < len(hidden.added) and hidden.added[piece.part].digest == digest(piece.text)
    )


def _joined(pieces: Iterator[TextPart]) -> Iterator[TextPart]:
    words = ""
    for piece in pieces:
        if isinstance(piece, Words):
            words += piece.text
            continue
        if words:
            yield Words(words)
            words = ""
        yield piece
    if words:
        yield Words(words)


def _text_of(pieces: Sequence[TextPart]) -> str:
    return "".join(piece.text if isinstance(piece, Words) else piece.whole for piece in pieces)


def _with_text(message: ChatMessage, text: str) -> list[ChatMessage]:
    """The client's message with this text, if anything is left of it."""
    if text.strip() or message.get("tool_calls"):
        return [{**message, "content": text if text.strip() else None}]
    return []


def _one_line_end(text: str) -> str:
    return text.replace("\r\n", "\n")
