"""One piece of code of the model, from its first character to its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from app.detection.chunk import Chunk, Detector, SyntaxProblem
from app.events import CodeEnd, Source
from app.pipeline.transcript import Transcript

Status = Literal["ok", "error", "interrupted", "timeout", "incomplete"]


@dataclass(eq=False)
class Block:
    """A tool call, a fence or a tag with code in it.

    Generation fills in ``chunks``, ``problem`` and ``incomplete``; the executor ``ran`` and ``status``.
    ``problem`` is code that can never compile: the chunks before ``problem_chunk`` run, then it is reported.
    """

    call_id: str
    turn: int
    source: Source
    language: str
    detector: Detector
    chunks: list[Chunk] = field(default_factory=list)
    problem: SyntaxProblem | None = None
    problem_chunk: int = 0
    incomplete: bool = False
    ran: int = 0
    status: Status | None = None
    transcript: Transcript = field(default_factory=Transcript)

    @property
    def statements(self) -> int:
        """Chunks that are not only comments."""
        return sum(chunk.kind != "trivia" for chunk in self.chunks)

    @property
    def code(self) -> str:
        """All of the code received so far."""
        return "".join(chunk.source for chunk in self.chunks) + self.detector.remainder


def code_end(block: Block) -> CodeEnd:
    """The report on a block that is over."""
    assert block.status is not None
    return CodeEnd(call_id=block.call_id, code=block.code, status=block.status, ran=block.ran, chunks=len(block.chunks))
