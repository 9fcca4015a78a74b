"""The serial twin of detection: nothing is complete before the code is. For comparison with eager runs."""

from __future__ import annotations

from app.detection.chunk import Chunk, SyntaxProblem

#: Kind of its chunk.
WHOLE_PROGRAM = "program"


class WholeProgram:
    """A ``Detector`` whose only chunk is all of the code."""

    problem: SyntaxProblem | None = None

    def __init__(self) -> None:
        self._parts: list[str] = []

    def __repr__(self) -> str:
        return f"<WholeProgram {len(self._parts)} fragments>"

    @property
    def remainder(self) -> str:
        return "".join(self._parts)

    def feed(self, fragment: str) -> list[Chunk]:
        self._parts.append(fragment)
        return []

    def flush(self) -> list[Chunk]:
        source = self.remainder
        self._parts.clear()
        return [Chunk(0, source, 0, len(source), 1, 0, WHOLE_PROGRAM)] if source else []
