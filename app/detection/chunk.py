"""What detection hands on, and what every detector (one per language) can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Chunk:
    """The smallest run of complete top-level statements ready to execute (EAGER 2.1).

    Attributes:
        index: position in its block, from 0.
        source: its text, with the blank lines and comments before it. Joined, the sources are the block's code.
        start, end: character offsets in the code of the block.
        line: line (from 1) of the block on which ``source`` starts.
        column: UTF-8 bytes before ``source`` on that line; above 0 only after a semicolon, or where ``source`` starts
            with the comment behind another statement.
        kind: ``simple``, a clause word (``if``, ``def``, ...), ``magic`` (it holds IPython syntax, at any depth), or
            ``trivia`` (blank lines and comments at the end, nothing to run).
        plain: ``source`` without the indentation and the prompts that IPython takes off; None: there are none.
    """

    index: int
    source: str
    start: int
    end: int
    line: int
    column: int
    kind: str
    plain: str | None = None


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """Code that can never become valid, whatever follows. ``message`` and ``line`` as CPython would say where known;
    ``offset`` is how many characters of the code show it."""

    message: str
    line: int
    offset: int
    kind: str = "SyntaxError"


class Detector(Protocol):
    """A pure core: code in fragments cut anywhere -> chunks. Once ``problem`` is set nothing more is emitted, and the
    rest of the text stays in ``remainder``."""

    @property
    def problem(self) -> SyntaxProblem | None: ...

    @property
    def remainder(self) -> str:
        """Text fed and not emitted."""
        ...

    def feed(self, fragment: str) -> list[Chunk]: ...

    def flush(self) -> list[Chunk]:
        """The code is over: what is still pending, or ``problem`` if that is not a whole statement."""
        ...
