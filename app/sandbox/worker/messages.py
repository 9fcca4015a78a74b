"""What a sandbox says, validated. The sender is untrusted: a message that does not decode ends the sandbox.

The wire form and its rules are in ``sandbox_image/protocol.py``; this module is its schema.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

Mime = dict[str, Any]
_MOST: Final = 2**63 - 1
#: A number of something. JSON has no bounds; what comes after us has.
Count = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
_AnyInteger = Annotated[int, msgspec.Meta(ge=-_MOST, le=_MOST)]
#: Well above what our interpreter sends (failures.py), where a character that is escaped counts as six.
_Name = Annotated[str, msgspec.Meta(max_length=8 * 1024)]
_ErrorText = Annotated[str, msgspec.Meta(max_length=512 * 1024)]
_Traceback = Annotated[str, msgspec.Meta(max_length=8 * 1024 * 1024)]


class Output(msgspec.Struct, frozen=True):
    """Text written by the code, decoded (UTF-8, across frames; undecodable bytes become U+FFFD)."""

    stream: Literal["stdout", "stderr"]
    text: str


class Display(msgspec.Struct, frozen=True, tag_field="t", tag="display"):
    """Something shown by running code."""

    id: int
    data: Mime
    metadata: Mime = {}


class Result(msgspec.Struct, frozen=True, tag_field="t", tag="result"):
    """The value of the last statement of a block."""

    id: int
    data: Mime
    metadata: Mime = {}


class Failure(msgspec.Struct, frozen=True, tag_field="t", tag="error"):
    """The statement that failed, and how."""

    id: int
    chunk: int
    ename: _Name
    evalue: _ErrorText
    traceback: _Traceback
    line: Count | None = None
    phase: Literal["compile", "run"] = "run"

    @property
    def headline(self) -> str:
        """In one line, for what has no traceback."""
        where = f" in line {self.line}" if self.line is not None else ""
        return f"{self.ename}{where}: {self.evalue}" if self.evalue else f"{self.ename}{where}"


class Finished(msgspec.Struct, frozen=True, tag_field="t", tag="done"):
    """End of an execution, said by the interpreter."""

    id: int
    status: Literal["ok", "error", "exit", "interrupted"]
    ran: Count
    ns: list[_AnyInteger] = []  # below zero where code has replaced the clock
    code: _AnyInteger | None = None
    #: Of an exit that is an error: what it says, and the line of the program.
    evalue: _ErrorText | None = None
    line: Count | None = None


class Step(msgspec.Struct, frozen=True, tag_field="t", tag="step"):
    """What a sandbox that starts does next."""

    what: Annotated[str, msgspec.Meta(max_length=1024)]


class Ready(msgspec.Struct, frozen=True, tag_field="t", tag="ready"):
    """A fresh interpreter is waiting."""

    protocol: int
    python: tuple[int, int, int]
    languages: list[str]
    workdir: str


class Lost(msgspec.Struct, frozen=True, tag_field="t", tag="lost"):
    """The interpreter died with its state."""

    reason: Literal["exit", "signal", "memory", "reset", "protocol"]
    ran: int = 0
    id: int | None = None
    detail: str = ""


class Pong(msgspec.Struct, frozen=True, tag_field="t", tag="pong"):
    id: int
    cpu_ms: Count | None = None


class FileEntry(msgspec.Struct, frozen=True):
    """A file of the work folder; ``path`` is relative to it."""

    path: str
    size: int
    mtime_ns: int


class FileReply(msgspec.Struct, frozen=True, tag_field="t", tag="file"):
    """Answer to a file operation."""

    id: int
    ok: bool
    error: str | None = None
    size: int = 0
    entries: list[FileEntry] | None = None
    truncated: bool = False


class CheckpointReply(msgspec.Struct, frozen=True, tag_field="t", tag="snapshot"):
    """Answer to checkpoint, commit and rollback."""

    id: int
    ok: bool
    error: str | None = None

    @property
    def reason(self) -> str | None:
        """Why it was not done; None if it was."""
        return None if self.ok else self.error or "unknown"


SupervisorMessage = Step | Ready | Lost | Pong | FileReply | CheckpointReply
InterpreterMessage = Display | Result | Failure | Finished
