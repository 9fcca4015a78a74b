"""A supervisor as a real process, unsandboxed, and the gateway's side of its stream. It waits for frames, never for
time: what does not come fails the test by the socket's timeout."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox_image.protocol import (
    CONTROL,
    FILE,
    INTERPRETER,
    STDERR,
    STDOUT,
    FrameDecoder,
    encode_frame,
    encode_message,
)

STAND_IN = Path(__file__).parent / "stand_in.py"
SUPERVISOR = Path(__file__).parents[2] / "sandbox_image" / "supervisor.py"
PATIENCE_S = 20.0


class Supervised:
    """Use as a context manager. ``program`` is what is run, with ``prefix`` before the supervisor's ``options``,
    by ``launcher`` if that is given."""

    def __init__(
        self,
        workdir: Path,
        *options: str,
        program: Path = STAND_IN,
        prefix: Sequence[str] = (),
        launcher: Sequence[str] = (),
        pass_fd: bool = True,
    ) -> None:
        self.workdir = workdir
        self._temporary = tempfile.TemporaryDirectory(prefix="eager-test-")
        Path(self._temporary.name).chmod(0o1777)
        self.stream, theirs = socket.socketpair()
        self.stream.settimeout(PATIENCE_S)
        stream = ("--fd", str(theirs.fileno())) if pass_fd else ("--stdio",)
        self.process = subprocess.Popen(
            [*launcher, sys.executable, "-I", program, *prefix, *stream, "--workdir", workdir, *options],
            pass_fds=[theirs.fileno()] if pass_fd else [],
            stdin=subprocess.DEVNULL if pass_fd else theirs,
            stdout=subprocess.DEVNULL if pass_fd else theirs,
            stderr=subprocess.PIPE,
            env={"SECRET": "of the gateway", "TMPDIR": self._temporary.name},
        )
        theirs.close()
        self._decoder = FrameDecoder()
        self._frames: list[tuple[int, bytes]] = []

    def __enter__(self) -> Supervised:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stream.close()
        self.end()
        self._temporary.cleanup()

    def end(self) -> tuple[int, str]:
        """Wait for its end: exit status and what it wrote to stderr. Reading to the end of stderr also proves that
        no process that inherited it is left."""
        try:
            _, errors = self.process.communicate(timeout=PATIENCE_S)
        except ValueError:  # waited for before
            return self.process.wait(), ""
        finally:
            self.process.kill()
        return self.process.returncode, errors.decode()

    def children(self) -> list[int]:
        lists = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for list in lists for pid in list.read_text().split()]

    def send(self, kind: int, message: dict[str, Any]) -> None:
        self.stream.sendall(encode_message(kind, message))

    def control(self, **message: Any) -> None:
        self.send(CONTROL, message)

    def execute(self, number: int, *sources: str) -> None:
        chunks = [[index, 1, 0, source] for index, source in enumerate(sources)]
        message = {"op": "execute", "id": number, "block": "b", "language": "python", "chunks": chunks, "final": False}
        self.send(INTERPRETER, message)

    def frame(self) -> tuple[int, bytes]:
        while not self._frames:
            data = self.stream.recv(1 << 20)
            assert data, "the supervisor closed the stream"
            self._frames = self._decoder.feed(data)
        return self._frames.pop(0)

    def message(self) -> dict[str, Any]:
        """The next frame, which has to be a message; steps of its start are left out."""
        kind, payload = self.frame()
        assert kind in (CONTROL, INTERPRETER), (kind, payload[:80])
        message: dict[str, Any] = json.loads(payload)
        return self.message() if message["t"] == "step" else {"kind": kind, **message}

    def until(self, type: str) -> tuple[dict[str, Any], str, str, list[dict[str, Any]]]:
        """Read up to the message of this type. Returns it, stdout, stderr, and the messages before it."""
        out, err = bytearray(), bytearray()
        before: list[dict[str, Any]] = []
        while True:
            kind, payload = self.frame()
            if kind == STDOUT:
                out += payload
            elif kind == STDERR:
                err += payload
            else:
                message = json.loads(payload)
                if message["t"] == type:
                    return message, out.decode(), err.decode(), before
                before.append(message)

    def run(self, number: int, *sources: str) -> str:
        """Execute and return stdout."""
        self.execute(number, *sources)
        done, out, err, before = self.until("done")
        assert (done["id"], done["status"], err, before) == (number, "ok", "", []), (done, err, before)
        return out

    def put(self, number: int, path: str, data: bytes, piece: int = 65536) -> dict[str, Any]:
        self.control(op="put", id=number, path=path, size=len(data))
        for start in range(0, len(data), piece):
            self.stream.sendall(encode_frame(FILE, data[start : start + piece]))
        return self.until("file")[0]

    def get(self, number: int, path: str, limit: int = 1 << 30) -> tuple[bytes, dict[str, Any]]:
        self.control(op="get", id=number, path=path, limit=limit)
        data = bytearray()
        while True:
            kind, payload = self.frame()
            if kind == FILE:
                data += payload
            elif kind == CONTROL:
                return bytes(data), json.loads(payload)
