"""Both. The protocol spoken between the gateway and a sandbox, over one byte stream. Standard library only: the same
file is imported by the gateway and copied into the image.

Parties. The *gateway*; the *supervisor* (first process of the sandbox, owner of the stream); the
*interpreter* (forked by the supervisor, runs the code of the user and is as untrusted as that code).

Frames. ``u32 length (big endian, of kind + payload) | u8 kind | payload``. The kind tells who speaks, so an
interpreter cannot speak for its supervisor whatever it writes:

    kind  gateway -> sandbox                  sandbox -> gateway
    0     JSON for the supervisor             JSON from the supervisor
    1     -                                   bytes of the interpreter's stdout (at most 64 KiB)
    2     -                                   bytes of its stderr (at most 64 KiB)
    3     JSON for the interpreter            JSON from the interpreter, relayed unread
    4     bytes of the file being put         bytes of the file being got

Rules.
1. The supervisor opens with ``ready``. It sends ``ready`` again each time it has forked a new interpreter.
2. At most one ``execute`` is in flight. It is answered by any number of stdout, stderr and ``display`` frames,
   at most one ``result`` or ``error``, and exactly one ending message: ``done``, or ``lost`` if the
   interpreter died. All output written before the end of the execution is sent before ``done``.
3. ``interrupt`` raises KeyboardInterrupt in the interpreter if an execution is in flight; it has no answer of its
   own (the execution answers). ``reset`` kills the interpreter and everything it started, and forks anew:
   ``lost``, then ``ready``.
4. Output between executions (late threads, daemons) is sent as it comes; the gateway decides whose it is.
5. File operations go to the supervisor, one at a time, each answered by one ``file`` message carrying its id.
6. A frame longer than MAX_FRAME_BYTES, of an unknown kind, or not of this schema ends the sandbox.

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
    {"t": "step", "what": "import pandas"}   before ``ready``: what it does next, so that a slow start is told from one
                                         that hangs
    {"t": "ready", "protocol": PROTOCOL_VERSION, "python": [3, 11, 7], "languages": ["python", "bash"],
     "workdir": "/mnt/data"}
    {"t": "lost", "id": n | null, "ran": k, "reason": "exit" | "signal" | "memory" | "reset" | "protocol",
     "detail": "exit status 3"}          the interpreter is gone with its state; k chunks of execution n had been
                                         finished; a ``ready`` follows
    {"t": "pong", "id": n, "cpu_ms": n}      CPU time of all that was started so far
    {"t": "file", "id": n, "ok": bool, "error": str | null, "size": bytes,
     "entries": [{"path": str, "size": bytes, "mtime_ns": int}] | null, "truncated": bool}
    {"t": "snapshot", "id": n, "ok": bool, "error": str | null}

Messages to the interpreter (kind 3):
    {"op": "execute", "id": n, "block": "c0ffee", "language": "python",
     "chunks": [[index, line, column, source], ...], "final": bool}
        ``block`` names one piece of code written by the model (a tool call, a fence), and no other of the session:
        chunks of one block are one program, with one file name and one docstring. ``line`` (from 1) and ``column``
        (UTF-8 bytes, from 0) are where ``source`` starts in the code of the block. ``source`` holds one or more whole
        top-level statements with the blank lines and comments before them. ``final`` tells that nothing follows in
        this block: the value of its last statement, if that is an expression, is then the result. A final execution
        may have no chunk (the end of the block was seen after its last chunk ran). With ``"cut": true`` as well the
        block ends before its last statement, and has no result. With ``"trial": true`` the code is the gateway's own:
        programs have yet to come.
Messages from the interpreter (kind 3):
    {"t": "display", "id": n, "data": {mime type: str | JSON}, "metadata": {}}   shown by the running code
    {"t": "result", "id": n, "data": {mime type: str | JSON}, "metadata": {}}    value of the last statement
    {"t": "error", "id": n, "chunk": index, "ename": str, "evalue": str, "traceback": str, "line": int | null,
     "phase": "compile" | "run"}         binary MIME data is base64 text; ``line`` counts in the code of the block
    {"t": "done", "id": n, "status": "ok" | "error" | "exit" | "interrupted", "ran": k, "ns": [ns of each chunk that
     was started], "code": int | null, "evalue": str | null, "line": int | null}
                                         ``ran`` chunks finished without an error. After ``error``, ``exit`` and
                                         ``interrupted`` the block is over: its namespace stays, a further
                                         ``execute`` names another block. ``exit``: the code called sys.exit();
                                         ``code`` is the exit status, 0 for success; ``evalue`` and ``line``
                                         are the message of an exit, if it has one, and its line. A SyntaxError
                                         has phase "compile" and status "error"; chunks before it have run.

Transactions, while no execution is in flight. ``checkpoint`` makes the supervisor keep a copy (fork) of the interpreter
and of the work folder, in the place of the one it has; ``commit`` drops it; ``rollback`` kills the interpreter and all
it started and goes on with the copy, files included. The copy survives the interpreter: after ``lost`` and ``ready`` a
``rollback`` still leads back. A rollback has no ``lost`` and no ``ready`` of its own, unless the copy is dead as well.
``ok`` is false, with a reason, where that is not possible (threads of the program, a work folder above the limit).

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
