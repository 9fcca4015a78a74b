"""One piece of code of the model, from its first character to its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from msgspec import UNSET

from app.detection.chunk import Chunk, Detector, SyntaxProblem
from app.events import CodeEnd, CodeSource, FileChange
from app.pipeline.serial import WHOLE_PROGRAM
from app.pipeline.transcript import Transcript

BlockStatus = Literal["ok", "error", "interrupted", "timeout", "incomplete"]


@dataclass(eq=False)
class Block:
    """A tool call, a fence or a tag with code in it.

    Generation sets:
        chunks, incomplete.
        problem: code that can never compile. The chunks before ``problem_chunk`` run, then it is reported.
        turned_foreign: the call is the client's after all; its language came late and is none of ours.
        beyond_limit: the request may have no more calls; it is not run, and the client does not see it.
        refused: the same of a tool that no client has; the language. If it came first, the rest is empty.
    The executor sets:
        has_run: something of it ran, if only in part.
        ran: chunks that finished.
        status, state_lost, rolled_back.
        compile_failed: a statement does not compile.
    """

    call_id: str
    turn: int
    source: CodeSource
    language: str
    detector: Detector
    chunks: list[Chunk] = field(default_factory=list)
    problem: SyntaxProblem | None = None
    problem_chunk: int = 0
    incomplete: bool = False
    turned_foreign: bool = False
    beyond_limit: bool = False
    refused: str | None = None
    has_run: bool = False
    ran: int = 0
    status: BlockStatus | None = None
    state_lost: bool = False
    compile_failed: bool = False
    rolled_back: bool = False
    #: The batch that is being run, and since when.
    running: tuple[int, float] | None = None
    transcript: Transcript = field(default_factory=Transcript)
    #: What it did to the work folder; None where that is not known.
    files: list[FileChange] | None = None
    #: Of the program in its session. Models and apps give one ``call_id`` to one call after another.
    name: str = field(default_factory=lambda: uuid4().hex)

    @property
    def statements(self) -> int:
        """Chunks that are not only comments."""
        return sum(chunk.kind != "trivia" for chunk in self.chunks)

    @property
    def code(self) -> str:
        """All of the code received so far."""
        return "".join(chunk.source for chunk in self.chunks) + self.detector.remainder

    @property
    def is_whole_program(self) -> bool:
        """It ran in one piece (serial mode): how far it came is not known."""
        return any(chunk.kind == WHOLE_PROGRAM for chunk in self.chunks)

    @property
    def attempted(self) -> str:
        """The code that ran, up to and including the statement that failed."""
        code = "".join(chunk.source for chunk in self.chunks[: self.ran + 1])
        if self.problem is None or self.ran < len(self.chunks):
            return code
        # What can never compile is no chunk: it is shown to the end of its line, or as far as it came.
        whole = self.code
        end = whole.find("\n", max(self.problem.offset, len(code)))
        return whole if end < 0 else whole[: end + 1]


def code_end(block: Block, files: list[FileChange] | None = None) -> CodeEnd:
    """The report on a block that is over. ``files``: what it did to the work folder, if that is known."""
    assert block.status is not None
    return CodeEnd(
        call_id=block.call_id,
        code=block.code,
        status=block.status,
        ran=block.ran,
        chunks=len(block.chunks),
        files=UNSET if files is None else files,
    )
