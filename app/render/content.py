"""The model's words, parted where code stands in them.

The pipeline finds code in fences and tags with these very readers; here they tell where in the text it is. A fence is
Markdown and is shown as it stands; a tag with code is not, and its code is shown in its place.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import NamedTuple

from app.extraction.fence import FenceReader, PassedText, SnippetEnd, SnippetEvent, SnippetStart, TaggedText
from app.extraction.tags import TagReader
from app.extraction.thoughts import WithoutThoughts


class CodePlace(Enum):
    """Where code stands: it has ended ``BEHIND`` the words so far, or is to be shown ``INSTEAD`` of what follows."""

    BEHIND = "behind"
    INSTEAD = "instead"


class Withheld(NamedTuple):
    """Text of the model that is not shown."""

    text: str


WordsPiece = str | CodePlace | Withheld


class WordsReader:
    """The text of one turn. ``sources``: ``fence``, ``tag``, or neither."""

    def __init__(self, sources: Collection[str], tools: Collection[str]) -> None:
        self._thoughts = WithoutThoughts()
        self._reader: TagReader | FenceReader | None = None
        if "tag" in sources:
            self._reader = TagReader(tools, fences="fence" in sources, tells_text=True)
        elif "fence" in sources:
            self._reader = FenceReader()
        self._waiting: list[str] = []  # for whether it begins a thought
        self._in_tag = False

    def __repr__(self) -> str:
        return f"<WordsReader {self._reader}>"

    @property
    def looks_for_code(self) -> bool:
        return self._reader is not None

    def feed(self, line: str) -> list[WordsPiece]:
        """``line`` ends with a line end, or goes on in the next one."""
        if self._reader is None:
            return [line]
        self._waiting.append(line)
        seen = self._thoughts.feed(line)
        if self._thoughts.holds_text:
            return []
        text = self._take_waiting()
        thought = text[: len(text) - len(seen)]
        pieces: list[WordsPiece] = [thought] if thought else []
        if isinstance(self._reader, FenceReader) and seen:
            pieces.append(seen)
        return [*pieces, *self._pieces(self._reader.feed(seen))] if seen else pieces

    def flush(self) -> list[WordsPiece]:
        """The turn is over."""
        reader, self._reader = self._reader, None
        if reader is None:
            return []
        waiting = self._take_waiting()
        pieces = self._pieces(reader.flush())
        return [*([waiting] if waiting else []), *(piece for piece in pieces if piece is not CodePlace.BEHIND)]

    def stop(self) -> list[WordsPiece]:
        """Code is looked for no more: a call has begun. What is not code by now is text."""
        in_tag = self._in_tag
        return [
            piece.text if isinstance(piece, Withheld) and not in_tag else piece
            for piece in self.flush()
            if piece is not CodePlace.INSTEAD
        ]

    def _take_waiting(self) -> str:
        text = "".join(self._waiting)
        self._waiting.clear()
        return text

    def _pieces(self, events: list[SnippetEvent]) -> list[WordsPiece]:
        pieces: list[WordsPiece] = []
        for event in events:
            match event:
                case PassedText(text):
                    pieces.append(text)
                case TaggedText(text):
                    self._in_tag = False
                    pieces.append(Withheld(text))
                case SnippetStart(source="tag"):
                    self._in_tag = True
                    pieces.append(CodePlace.INSTEAD)
                case SnippetEnd() if not self._in_tag:
                    pieces.append(CodePlace.BEHIND)
        return pieces
