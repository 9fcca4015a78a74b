"""Real interpreters for tests: a zygote of any Python that forks them, and a reader in the supervisor's place."""

from __future__ import annotations

import ast
import json
import mmap
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox_image.protocol import INTERPRETER, PROGRESS, FrameDecoder, encode_message
from tests.sandbox_image.whole_file import stated_environment

ROOT = Path(__file__).parents[2]
#: The libraries of the image, where they have been installed (see the Makefile).
SANDBOX_PYTHON = ROOT / ".eager" / "sandbox-env" / "bin" / "python"
_TIMEOUT_S = 60
_CLOSE_TIMEOUT_S = 5

#: Runs in the zygote: forks an interpreter for each set of descriptors it receives, tells its pid, at last its status.
_ZYGOTE = """
import mmap, os, socket, sys
sys.path.insert(0, {root!r})
from sandbox_image import bare_stack, interpreter
for name in {preload!r}:
    __import__(name)
control = socket.socket(fileno=int(sys.argv[1]))

def child(fds, folder):
    control.close()
    for fd, target in zip(fds[1:3], (1, 2)):
        os.dup2(fd, target)
        os.close(fd)
    for fd in (fds[0], fds[3]):
        os.set_inheritable(fd, False)
    os.chdir(folder)
    yield from interpreter.steps(socket.socket(fileno=fds[0]), mmap.mmap(fds[3], mmap.PAGESIZE))

while True:
    folder, fds, _, _ = socket.recv_fds(control, 65536, 4)
    if not folder:
        break
    pid = os.fork()
    if pid == 0:
        bare_stack.descend(child(fds, folder.decode()))
    for fd in fds:
        os.close(fd)
    control.send(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    control.send(str(os.waitstatus_to_exitcode(status)).encode())
"""


@dataclass
class Turn:
    """How one execution went."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    #: Everything in the order of arrival: ("stdout", text), ("stderr", text), ("display" | "result" | ..., message).
    log: list[tuple[str, Any]] = field(default_factory=list)

    def _text(self, stream: str) -> str:
        return "".join(text for kind, text in self.log if kind == stream)

    @property
    def stdout(self) -> str:
        return self._text("stdout")

    @property
    def stderr(self) -> str:
        return self._text("stderr")

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["t"] == kind]

    @property
    def done(self) -> dict[str, Any]:
        return self.messages[-1]

    @property
    def error(self) -> dict[str, Any] | None:
        return next(iter(self.of("error")), None)

    @property
    def result(self) -> str | None:
        return next((message["data"]["text/plain"] for message in self.of("result")), None)


class Zygote:
    def __init__(self, python: str = sys.executable, preload: tuple[str, ...] = ()) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._temporary = tempfile.TemporaryDirectory(prefix="eager-test-")
        self.python = python
        code = _ZYGOTE.format(root=str(ROOT), preload=preload)
        self._process = subprocess.Popen(
            [python, "-c", code, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=stated_environment(python, Path(self._temporary.name)) | {"TMPDIR": self._temporary.name},
        )
        theirs.close()
        self.control = ours
        self.control.settimeout(_TIMEOUT_S)

    def start(self, folder: Path) -> Interpreter:
        return Interpreter(self, folder)

    def close(self) -> None:
        self.control.close()
        self._process.wait(_TIMEOUT_S)
        self._temporary.cleanup()


class Interpreter:
    """One session. ``run`` splits code at statements as the gateway would and executes each by itself."""

    def __init__(self, zygote: Zygote, folder: Path) -> None:
        self._zygote = zygote
        self.folder = folder
        self._channel, theirs = socket.socketpair()
        self._stdout, stdout = os.pipe()
        self._stderr, stderr = os.pipe()
        shared = os.memfd_create("progress")
        os.ftruncate(shared, mmap.PAGESIZE)
        self._progress = mmap.mmap(shared, mmap.PAGESIZE)
        fds = [theirs.fileno(), stdout, stderr, shared]
        socket.send_fds(zygote.control, [str(folder).encode()], fds)
        for fd in fds[1:]:
            os.close(fd)
        theirs.close()
        self.pid = int(zygote.control.recv(100))
        self._decoder = FrameDecoder()
        self._id = 0
        self._block = 0
        self._unread: list[dict[str, Any]] = []

    def close(self) -> int:
        """The supervisor goes away; returns the exit status. One that stays nevertheless is killed."""
        self._channel.close()
        os.close(self._stdout)
        os.close(self._stderr)
        if not select.select([self._zygote.control], [], [], _CLOSE_TIMEOUT_S)[0]:
            os.kill(self.pid, signal.SIGKILL)
        return int(self._zygote.control.recv(100))

    @property
    def progress(self) -> tuple[int, ...]:
        return PROGRESS.unpack_from(self._progress, 0)

    def interrupt(self) -> None:
        os.kill(self.pid, signal.SIGINT)

    def send(
        self, chunks: list[list[Any]], *, block: str, final: bool, language: str = "python", cut: bool = False
    ) -> int:
        self._id += 1
        message = {
            "op": "execute",
            "id": self._id,
            "block": block,
            "language": language,
            "chunks": chunks,
            "final": final,
            "cut": cut,
        }
        self._channel.sendall(encode_message(INTERPRETER, message))
        return self._id

    def wait_for_output(self, turn: Turn, text: str) -> None:
        """Read on until ``text`` was printed."""
        while text not in turn.stdout:
            self._read(turn)

    def wait_done(self, turn: Turn | None = None) -> Turn:
        """Read as a supervisor does: what is in the pipes goes before what is on the channel."""
        turn = turn or Turn()
        while not turn.messages or turn.messages[-1]["t"] != "done":
            self._read(turn)
        return turn

    def execute(self, chunks: list[list[Any]], *, block: str, final: bool, **options: Any) -> Turn:
        self.send(chunks, block=block, final=final, **options)
        return self.wait_done()

    def run(self, code: str, *, whole: bool = False, batch: bool = False) -> Turn:
        """One block, statement by statement; as one chunk (``whole``); or as one execution of all (``batch``)."""
        self._block += 1
        chunks = [[0, 1, 0, code]] if whole else split(code)
        turn = Turn()
        executions = [chunks] if batch or whole else [[chunk] for chunk in chunks] or [[]]
        for number, execution in enumerate(executions):
            part = self.execute(execution, block=f"block_{self._block}", final=number == len(executions) - 1)
            turn.messages += part.messages
            turn.log += part.log
            if part.done["status"] != "ok":
                break
        return turn

    def bash(self, *chunks: list[Any]) -> Turn:
        self._block += 1
        return self.execute(list(chunks), block=f"block_{self._block}", final=True, language="bash")

    def _read(self, turn: Turn) -> None:
        sources = [self._stdout, self._stderr, self._channel.fileno()]
        ready, _, _ = select.select(sources, [], [], _TIMEOUT_S)
        assert ready, f"no answer in {_TIMEOUT_S} s: {turn}"
        messages = []
        if self._channel.fileno() in ready:
            data = self._channel.recv(1 << 20)
            assert data, f"the interpreter died: {turn}"
            messages = [json.loads(payload) for _, payload in self._decoder.feed(data)]
        self._drain(turn)
        for message in messages:
            turn.messages.append(message)
            turn.log.append((message["t"], message))

    def _drain(self, turn: Turn) -> None:
        while ready := select.select([self._stdout, self._stderr], [], [], 0)[0]:
            for fd in ready:
                data = os.read(fd, 65536)
                if not data:
                    return
                turn.log.append(("stdout" if fd == self._stdout else "stderr", data.decode("utf-8", "replace")))


def split(code: str) -> list[list[Any]]:
    """Chunks of a whole program by CPython's own parser; code that does not parse is one chunk.

    Independent of the product's detector: cut after the newline that ends each statement, or its semicolon.
    """
    try:
        tree = ast.parse(code, feature_version=None)
    except (SyntaxError, ValueError):
        return [[0, 1, 0, code]]
    starts = [0, *(match.end() for match in re.finditer(rb"\r\n|\r|\n", code.encode()))]
    data = code.encode()
    chunks: list[list[Any]] = []
    begin = 0

    def cut(end: int) -> None:
        line = bisect_right(starts, begin)
        chunks.append([len(chunks), line, begin - starts[line - 1], data[begin:end].decode()])

    for statement in tree.body:
        assert statement.end_lineno is not None
        assert statement.end_col_offset is not None
        end = starts[statement.end_lineno - 1] + statement.end_col_offset
        rest = data[end:].lstrip(b" \t\f")
        end = len(data) - len(rest)
        if rest.startswith(b";"):
            end += 1
        else:
            end = end if rest.startswith(b"#") else next((start for start in starts if start > end), len(data))
        cut(end)
        begin = end
    if data[begin:].strip():
        cut(len(data))
    return chunks
