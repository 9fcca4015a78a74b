"""The model's words, parted behind code that stands in them.

The pipeline finds code in fences and tags with these very readers; here they tell where in the text it ends.
"""

from __future__ import annotations

from collections.abc import Collection

from app.extraction.fence import CodeEnd, FenceReader
from app.extraction.tags import TagReader
from app.extraction.thoughts import WithoutThoughts


class WordsReader:
    """The text of one turn. ``sources``: ``fence``, ``tag``, or neither."""

    def __init__(self, sources: Collection[str], tools: Collection[str]) -> None:
        self._thoughts = WithoutThoughts()
        self._reader: TagReader | FenceReader | None = None
        if "tag" in sources:
            self._reader = TagReader(tools, fences="fence" in sources)
        elif "fence" in sources:
            self._reader = FenceReader()

    def __repr__(self) -> str:
        return f"<WordsReader {self._reader}>"

    def feed(self, text: str) -> list[str]:
        """The text in pieces: behind each but the last one, code has ended."""
        if self._reader is None:
            return [text]
        pieces = [""]
        for line in text.splitlines(keepends=True):
            pieces[-1] += line
            if (seen := self._thoughts.feed(line)) and any(
                isinstance(event, CodeEnd) for event in self._reader.feed(seen)
            ):
                pieces.append("")
        return pieces

    def stop(self) -> None:
        """Code is looked for no more: a call has begun."""
        self._reader = None
