"""Both. The protocol between the gateway and a sandbox, over one byte stream.

The gateway imports this file, and the image holds a copy of it. So it uses the standard library only.

Parties. The *gateway* is at one end of the stream. The *supervisor*, the first process of the sandbox, is at the other.
The supervisor forks the *interpreter*, which runs the user's code and is trusted as little as that code.

Frames. ``u32 length (big endian, of kind + payload) | u8 kind | payload``. The kind says who speaks. The supervisor
sets it, so an interpreter can write what it likes and still not speak for its supervisor.

    kind  gateway -> sandbox                  sandbox -> gateway
    0     JSON for the supervisor             JSON from the supervisor
    1     -                                   bytes of the interpreter's stdout (at most 64 KiB)
    2     -                                   bytes of its stderr (at most 64 KiB)
    3     JSON for the interpreter            JSON from the interpreter, relayed unread
    4     bytes of the file being put         bytes of the file being got

Rules.
1. The supervisor first sends ``ready``. It sends ``ready`` again each time it has forked a new interpreter.
2. At most one ``execute`` is under way. It is answered by any number of stdout, stderr and ``display`` frames, by at
   most one ``result`` or ``error``, and last by exactly one ``done``, or ``lost`` if the interpreter died. All that the
   code wrote is sent before ``done``.
3. ``interrupt`` raises KeyboardInterrupt in the interpreter if an execution is under way. It has no answer of its own.
4. ``reset`` kills the interpreter and all that it started, and forks a new one. The answer is ``lost``, then ``ready``.
5. Late threads and daemons write between executions. That output is sent as it comes, and the gateway decides to which
   execution it belongs.
6. The supervisor works on files, one operation at a time. Each is answered by one ``file`` message with its id.
7. A sandbox is ended by a frame that is longer than MAX_FRAME_BYTES, is of an unknown kind or has another schema.

Messages to the supervisor (kind 0):
    {"op": "interrupt", "id": n}         id of the execution to interrupt
    {"op": "reset"}
    {"op": "ping", "id": n}              -> {"t": "pong", "id": n, "cpu_ms": n}
    {"op": "put", "id": n, "path": "a/b.csv", "size": bytes}   followed by kind 4 frames of that many bytes in all
    {"op": "get", "id": n, "path": "a/b.csv", "limit": bytes}  -> kind 4 frames, then the ``file`` message
    {"op": "list", "id": n, "limit": entries}
    {"op": "remove", "id": n, "path": "a/b.csv"}
    {"op": "checkpoint", "id": n} | {"op": "commit", "id": n} | {"op": "rollback", "id": n}
                                         -> {"t": "snapshot", ...}; see "Transactions"
Messages from the supervisor (kind 0):
    {"t": "step", "what": "import pandas"}   before ``ready``: what it does next. A slow start tells steps, one that
                                         hangs does not
    {"t": "ready", "protocol": PROTOCOL_VERSION, "python": [3, 11, 7], "languages": ["python", "bash"],
     "workdir": "/mnt/data"}
    {"t": "lost", "id": n | null, "ran": k, "reason": "exit" | "signal" | "memory" | "reset" | "protocol",
     "detail": "exit status 3"}          the interpreter is gone with its state. It had finished k chunks of
                                         execution n. A ``ready`` follows
    {"t": "pong", "id": n, "cpu_ms": n}      CPU time of all processes so far
    {"t": "file", "id": n, "ok": bool, "error": str | null, "size": bytes,
     "entries": [{"path": str, "size": bytes, "mtime_ns": int}] | null, "truncated": bool}
    {"t": "snapshot", "id": n, "ok": bool, "error": str | null}

Messages to the interpreter (kind 3):
    {"op": "execute", "id": n, "block": "c0ffee", "language": "python",
     "chunks": [[index, line, column, source], ...], "final": bool}
        ``block`` is an id for one piece of code of the model (a tool call, a fence), unique in the session. The chunks
        of one block are one program: they share a file name and a docstring. ``source`` is one or more whole top-level
        statements, with the blank lines and comments before them. ``line`` (from 1) and ``column`` (UTF-8 bytes, from
        0) say where ``source`` begins in the code of the block.
        ``final``: the block ends here. If its last statement is an expression, its value is the result. A final
        execution may have no chunk, since the end may be seen after the last chunk has run.
        Two more fields may be true. ``"cut"``: the block was cut off before its last statement, and has no result.
        ``"trial"``: the code is the gateway's own, and is no program of the session.
Messages from the interpreter (kind 3):
    {"t": "display", "id": n, "data": {mime type: str | JSON}, "metadata": {}}   shown by the running code
    {"t": "result", "id": n, "data": {mime type: str | JSON}, "metadata": {}}    value of the last statement
    {"t": "error", "id": n, "chunk": index, "ename": str, "evalue": str, "traceback": str, "line": int | null,
     "phase": "compile" | "run"}         ``line`` counts in the code of the block
    {"t": "done", "id": n, "status": "ok" | "error" | "exit" | "interrupted", "ran": k, "ns": [ns of each chunk that
     was started], "code": int | null, "evalue": str | null, "line": int | null}
        ``ran`` chunks finished without an error. ``ok`` apart, the block is over: its variables stay, and the next
        ``execute`` names another block. A SyntaxError is an ``error`` of phase ``compile``; the chunks before it have
        run. ``exit``: the code called sys.exit(). ``code`` is the exit status (0: success), ``evalue`` its message if
        it has one, and ``line`` where it was called.
Binary data of a MIME type is base64 text.

Transactions. They happen while no execution is under way. The answer is ``snapshot``. Its ``ok`` is false, with a
reason, if the operation is not possible: the program has threads, say, or its work folder is above the limit.

- ``checkpoint``: the supervisor keeps a copy (a fork) of the interpreter and of the work folder. It replaces an earlier
  copy.
- ``commit``: the copy is dropped.
- ``rollback``: the interpreter and all that it started are killed. The copy goes on in its place, and the work folder
  is put back. No ``lost`` or ``ready`` is sent, unless the copy is dead as well.

The copy survives the interpreter, so a ``rollback`` is possible also after ``lost`` and ``ready``.

    supervisor -> interpreter (kind 3)      {"op": "copy"}, with a descriptor: one end of the copy's channel
    interpreter -> that channel (kind 3)    {"t": "copied", "pid": n} | {"t": "refused", "reason": str}
    supervisor -> copy (kind 3)             {"op": "wake"}, in a rollback, when everything else is dead
    copy -> supervisor (kind 3)             {"t": "awake"}: it is the interpreter from then on
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final

PROTOCOL_VERSION: Final = 1

CONTROL: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
INTERPRETER: Final = 3
FILE: Final = 4

#: Largest frame either side accepts, kind included. Code of the user (a data file embedded in a program) and rich
#: results (a figure as base64) must fit; the gateway's own limits on both are lower.
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
#: Largest stdout, stderr or file frame: what one pipe holds.
MAX_DATA_BYTES: Final = 64 * 1024

HEADER: Final = struct.Struct(">IB")
#: Layout of the anonymous shared memory between supervisor and interpreter: id of the execution in flight (0: idle) and
#: how many of its chunks have finished. It costs a store per chunk and survives the death of the interpreter.
PROGRESS: Final = struct.Struct("<QQ")
WORK_FOLDER: Final = "/mnt/data"
#: Made once: ``json.dumps`` makes an encoder for every call that has options.
_to_json: Final = json.JSONEncoder(separators=(",", ":")).encode


class ProtocolError(Exception):
    """The other side broke the protocol. Nothing it says afterwards can be trusted."""


def encode_frame(kind: int, payload: bytes) -> bytes:
    """One frame, ready to be written."""
    return HEADER.pack(len(payload) + 1, kind) + payload


def encode_message(kind: int, message: dict[str, Any]) -> bytes:
    """A JSON message as a frame. Lone surrogates in strings survive the trip (JSON escapes)."""
    return encode_frame(kind, _to_json(message).encode())


class FrameDecoder:
    """Pure core: bytes cut anywhere -> ``(kind, payload)`` pairs. Keeps only the unfinished frame."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._max = max_frame_bytes

    def __repr__(self) -> str:
        return f"<FrameDecoder {len(self._buffer)} bytes of an unfinished frame>"

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Frames completed by ``data``.

        Raises:
            ProtocolError: a length of zero or above the limit.
        """
        buffer = self._buffer
        buffer += data
        frames: list[tuple[int, bytes]] = []
        start = 0
        while len(buffer) - start >= HEADER.size:
            length, kind = HEADER.unpack_from(buffer, start)
            if not 0 < length <= self._max:
                raise ProtocolError(f"frame of {length} bytes, limit is {self._max}")
            end = start + 4 + length
            if len(buffer) < end:
                break
            frames.append((kind, bytes(buffer[start + HEADER.size : end])))
            start = end
        del buffer[:start]
        return frames
