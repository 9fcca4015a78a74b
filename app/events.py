"""What a client can receive: the events of ``POST /v1/eager/completions``, in wire form.

Every event is one JSON object ``{"type", "seq", "t_ms", ...}``. ``seq`` counts from 0 without gaps, ``t_ms`` is
milliseconds since the request was accepted; both are set when the event is emitted (``pipeline/emitter.py``; what
fails outside of the pipeline, ``api/event_stream.py``).
The same objects ride in the top-level ``eager`` array on the OpenAI endpoints.

Whatever begins ends, unless the client leaves or the server stops: ``start`` with ``done``, ``code.start`` with
``code.end``, ``exec.start`` with ``exec.end``, and each answer of the upstream with ``turn.end``. Where code fails:

    exec.error, exec.end, [rollback,] code.end, interrupt, turn.end, and ``done`` or the next turn
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

CodeSource = Literal["tool", "fence", "tag"]
TokenChannel = Literal["content", "reasoning", "refusal", "code"]
#: A message of a chat-completions request, as OpenAI has it.
ChatMessage = dict[str, Any]
ExecutionStatus = Literal["ok", "error", "interrupted", "timeout"]


class Event(msgspec.Struct, kw_only=True, tag_field="type"):
    """Base of all events."""

    seq: int = -1
    t_ms: float = 0.0


class Start(Event, tag="start"):
    """First event of a request. ``session`` is what to ask for to use its sandbox again, empty if that is thrown away;
    ``container_id`` the sandbox's own id, empty if there is none yet: one that is thrown away is had when code comes.
    """

    id: str
    model: str
    session: str
    container_id: str


class Token(Event, tag="token"):
    """Text of the model, as it came. ``code`` is text that was recognised as code, decoded; code that stood in the
    content (a fence, a tag) is therefore told twice. ``key`` is the upstream's name for reasoning, ``logprobs`` what it
    said about a piece of content or of a refusal."""

    turn: int
    channel: TokenChannel
    text: str
    call_id: str | None = None
    key: str | None = None
    logprobs: Any = msgspec.UNSET


class DeltaExtra(Event, tag="extra"):
    """What the model's answer holds beside texts and calls, as it came.

    ``fields`` are those of a delta: pictures, audio, annotations, details of its reasoning, and what is not known here.
    Once at the end of a turn come those that stood beside its deltas, such as citations: in ``choice`` and beside it,
    in ``answer``.
    """

    turn: int
    fields: dict[str, Any]
    choice: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    answer: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class CodeStart(Event, tag="code.start"):
    """The model has begun to write code."""

    call_id: str
    turn: int
    source: CodeSource
    language: str


class FileChange(msgspec.Struct):
    """``path`` is relative to the work folder, ``bytes`` the size of what is there now."""

    path: str
    change: Literal["created", "changed", "deleted"]
    bytes: int | None


class CodeEnd(Event, tag="code.end"):
    """A block is over.

    Attributes:
        code: what was received of it.
        status: ``ok``: all of it ran. ``error``: a statement failed. ``interrupted``: it was cut short by us, by the
            client or by a limit. ``timeout``. ``incomplete``: the upstream stopped in the middle of it.
        files: what it changed in the work folder, at most 100 changes, by path, without hidden files. Empty after a
            rollback. Left out if it is not known: the folder holds more than 256 files, or the request failed.
    """

    call_id: str
    code: str
    status: Literal["ok", "error", "interrupted", "timeout", "incomplete"]
    ran: int
    chunks: int
    files: list[FileChange] | msgspec.UnsetType = msgspec.UNSET


class ChunkDetected(Event, tag="chunk"):
    """A statement is complete. ``start``/``end`` are character offsets in the code, ``gated`` the gate category."""

    call_id: str
    chunk: int
    start: int
    end: int
    line: int
    gated: str | None


class ExecStart(Event, tag="exec.start"):
    """Chunks were handed to the sandbox, merged into one batch."""

    call_id: str
    batch: int
    chunks: list[int]


class ExecOutput(Event, tag="exec.output"):
    """Text written by the running code."""

    call_id: str
    batch: int
    stream: Literal["stdout", "stderr"]
    text: str


class ExecResult(Event, tag="exec.result"):
    """A rich output: the value of the last statement (``display`` false) or something shown on the way."""

    call_id: str
    batch: int
    repr: str | None
    data: dict[str, Any]
    images: list[str]
    display: bool = False


class ExecError(Event, tag="exec.error"):
    """A statement failed. ``line`` counts from 1 in the code of the call."""

    call_id: str
    batch: int
    chunk: int
    ename: str
    evalue: str
    traceback: str
    line: int | None
    phase: Literal["compile", "run"]


class ExecEnd(Event, tag="exec.end"):
    """A batch is over."""

    call_id: str
    batch: int
    status: ExecutionStatus
    duration_ms: float


class SessionLost(Event, tag="session.lost"):
    """The interpreter died with its state; the session goes on with a fresh one."""

    reason: str
    detail: str


class Rollback(Event, tag="rollback"):
    """The session was put back to its state before a piece of code (``done``), or cannot be (``impossible``: told when
    the code begins, if that is known by then)."""

    call_id: str
    status: Literal["done", "impossible"]
    reason: str


class Interrupt(Event, tag="interrupt"):
    """Generation was stopped early: the upstream stream is closed."""

    call_id: str | None
    reason: str


class ToolCallDelta(Event, tag="tool_call.delta"):
    """More of a call that is for the client. The first one of a call may have no arguments. ``kind`` is not there for
    functions; the arguments of a ``custom`` tool are its input, any text."""

    id: str
    name: str
    arguments: str
    kind: Literal["custom"] | msgspec.UnsetType = msgspec.UNSET


class ToolCall(Event, tag="tool_call"):
    """A call of a tool that is not ours: for the client. ``extras`` are fields some upstreams want back with it.

    Its deltas came before only where no code was being written: an answer with code may yet be cut short.
    """

    id: str
    name: str
    arguments: str
    extras: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    kind: Literal["custom"] | msgspec.UnsetType = msgspec.UNSET


class TurnEnd(Event, tag="turn.end"):
    """An answer of the upstream is over.

    If it came to its end, this event comes at once, and code of it may still run. If it was stopped or broke off, this
    event comes last, after the ends of its code. It then has no ``finish_reason``, and its ``usage`` is an estimate or
    unknown.
    """

    turn: int
    finish_reason: str | None
    usage: dict[str, Any] | None


class ErrorBody(msgspec.Struct):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class Error(Event, tag="error"):
    """The request failed. Errors of the model's code are not this: they are ``exec.error``. ``status`` is the HTTP
    status of the same failure before the first event, ``headers`` those that would go with it: when to come back."""

    error: ErrorBody
    status: int = 500
    headers: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Timing(msgspec.Struct, kw_only=True):
    """Milliseconds, as in the paper (PAPER.md, Metrics). ``serial_e2el_ms`` is Eq. 1 with this run's measured times,
    ``bound_ms`` is Eq. 12. ``first_output_ms`` is when code first printed or showed something, and
    ``serial_first_output_ms`` when a serial run would have; None where it said nothing."""

    ttft_ms: float | None
    first_output_ms: float | None = None
    serial_first_output_ms: float | None = None
    gen_ms: float
    exec_ms: float
    nel_ms: float
    e2el_ms: float
    serial_e2el_ms: float
    saved_ms: float
    bound_ms: float
    chunks: int
    batches: int
    gates: dict[str, int]


class Done(Event, tag="done"):
    """Last event of a request, whatever happened."""

    finish_reason: str
    usage: dict[str, Any] | None
    timing: Timing


AnyEvent = (
    Start | Token | DeltaExtra | CodeStart | CodeEnd | ChunkDetected | ExecStart | ExecOutput | ExecResult | ExecError
    | ExecEnd | SessionLost | Rollback | Interrupt | ToolCallDelta | ToolCall | TurnEnd | Error | Done
)  # fmt: skip
