"""The model's words, parted behind code that stands in them.

The pipeline finds code in fences and tags with these very readers; here they tell where in the text it ends.
"""

from __future__ import annotations

from collections.abc import Collection

from app.extraction.fence import FenceReader, SnippetEnd
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

    @property
    def looks_for_code(self) -> bool:
        return self._reader is not None

    def ends_code(self, line: str) -> bool:
        """Reads on; ``line`` ends with a line end, or goes on in the next one. Whether code has ended with it."""
        if self._reader is None:
            return False
        seen = self._thoughts.feed(line)
        return bool(seen) and any(isinstance(event, SnippetEnd) for event in self._reader.feed(seen))

    def stop(self) -> None:
        """Code is looked for no more: a call has begun."""
        self._reader = None
