"""Program. The interpreter of a session: reads executions from its channel, runs them as parts of a script, answers.

It is as untrusted as the code it runs, and meant to be invisible to that code: one thread, a real ``__main__``, no
frame of ours on the stack (see ``bare_stack.py``), the signals, streams and source file of ``python main.py``. What
runs between two statements is in this file; how one runs is in the modules it imports.

    read execute ─▶ compile a chunk ─▶ enter ─▶ [user code] ─▶ leave ─▶ ... ─▶ result, figures, flush, done
                                                  │ raised: error | exit | interrupted: the block is over

What cannot be equal to a whole file: errors the compiler finds in later chunks; ``x is y`` on equal literals of two
chunks; ``__annotations__`` that exist early; a child forked by ``os.fork()`` runs on to the end of the batch, not of
the program; profilers see our functions; atexit callbacks run in forked children only.
"""

from __future__ import annotations

import atexit
import contextlib
import mmap
import os
import socket
import sys
from collections.abc import Generator, Iterator
from time import perf_counter_ns
from types import CodeType
from typing import Any, NoReturn

from sandbox_image import bare_stack, checkpoint
from sandbox_image.awaiting import Awaiter
from sandbox_image.base_interpreter import BaseInterpreter, End, Raised, is_coroutine
from sandbox_image.block import BlockCode, SourcePiece
from sandbox_image.channel import SupervisorChannel
from sandbox_image.mime import Bundle
from sandbox_image.namespace import use_python_path, use_work_folder
from sandbox_image.own_pages import PageRanges, take
from sandbox_image.process import die_with_parent
from sandbox_image.protocol import INTERPRETER, PROGRESS, encode_message
from sandbox_image.shell import Bash
from sandbox_image.streams import Streams

#: Our own code needs fewer frames than this; a program may set the limit lower.
_OWN_RECURSION_LIMIT = 500


def serve(channel: socket.socket, progress: mmap.mmap) -> NoReturn:
    """Serve until the supervisor closes the channel. To be called in a freshly forked child with 0, 1, 2 in place.

    The frames of the caller stay on the stack of user code: ``bare_stack.descend(steps(...))`` avoids that.
    """
    bare_stack.drive(steps(channel, progress))
    os._exit(0)


def steps(channel: socket.socket, progress: mmap.mmap, pages: PageRanges = ()) -> Iterator[object]:
    """The same as a generator for ``bare_stack``. User code runs whenever what it yields is dropped. ``pages`` are
    taken before the first code comes."""
    return Interpreter(channel, progress).steps(pages)


class Interpreter(BaseInterpreter):
    """A session on the channel to its supervisor."""

    def __init__(self, channel: socket.socket, progress: mmap.mmap) -> None:
        super().__init__()
        self._progress = progress
        self._streams = Streams()
        self._channel = SupervisorChannel(channel, self._interrupts)
        self._runner = bare_stack.Runner()
        self._old_main = sys.modules["__main__"]  # functions of the supervisor live in it
        self._bash: Bash | None = None
        self._bash_folder: str | None = None
        self._bash_block: BlockCode | None = None  # the script that it runs
        self._folder: str | None = None  # in a copy that goes on: where the program was
        self._recursion_limit: int | None = None  # of the program, while ours is in force
        self._default_recursion_limit = sys.getrecursionlimit()
        self._trace: Any = None
        use_work_folder()
        use_python_path()

    def steps(self, pages: PageRanges = ()) -> Iterator[object]:
        ahead: Iterator[object] | None = take(pages)
        self._channel.meanwhile = ahead
        for message in self._channel.receive():
            match message["op"]:
                case "copy":
                    self._copy(self._channel.received_fd)
                    ahead = self._channel.meanwhile = take(pages)  # the copy shares them again
                case "wake":  # we are a copy, and alive
                    self._channel.answer({"t": "awake"})
                case _ if message.get("trial"):
                    yield from self._execute(message)
                    self._channel.meanwhile = ahead
                case _:
                    pages, ahead = (), None  # the program may use the addresses otherwise
                    yield from self._execute(message)

    def _copy(self, fd: int) -> None:
        """Leave a copy of this process at the other end of ``fd``: it returns from here when it is spoken to."""
        self._flush()
        answer: dict[str, Any]
        folder = None
        with contextlib.suppress(OSError):
            folder = os.getcwd()
        try:
            checkpoint.require_copyable(self._progress)
            ours = (self._channel.fileno(), fd, *self._streams.descriptors(), *self._interrupts.descriptors())
            positions = checkpoint.Positions(ours)
            pid = checkpoint.fork_copy()
        except checkpoint.CopyRefused as refusal:
            answer = {"t": "refused", "reason": str(refusal)}
        except OSError as error:
            answer = {"t": "refused", "reason": f"no process can be started: {error.strerror or error}"}
        else:
            if pid == 0:
                self._pid, self._folder = os.getpid(), folder
                os.setsid()  # signals to the group of the interpreter are not for us
                if not self._channel.replace(fd):
                    os._exit(0)
                die_with_parent()
                positions.put_back()
                return
            answer = {"t": "copied", "pid": pid}
        with contextlib.suppress(OSError):
            os.write(fd, encode_message(INTERPRETER, answer))
        os.close(fd)

    def _execute(self, message: dict[str, Any]) -> Iterator[object]:
        if self._folder is not None:  # a rollback has put it back by now
            with contextlib.suppress(OSError):
                os.chdir(self._folder)
            self._folder = None
        number = self._channel.begin(message["id"])
        block = self._begin(message["block"], trial=message.get("trial", False))
        PROGRESS.pack_into(self._progress, 0, number, 0)  # from here on we are interrupted
        chunks = message["chunks"]
        block.add((line, column, source) for _, line, column, source in chunks)
        durations: list[int] = []
        run = self._run_bash if message["language"] == "bash" else self._run_chunk
        end: End = {"status": "ok", "code": None}
        for index, line, column, source in chunks:
            started = perf_counter_ns()
            failure = yield from run(block, (line, column, source))
            durations.append(perf_counter_ns() - started)
            if failure is not None:
                self._runner.forget()
                end = self._fail(block, index, *failure)
                held, failure = [failure], None
                yield held.pop()  # what its frames alone refer to goes while output still belongs to this execution
                break
            if not self._has_forked():
                PROGRESS.pack_into(self._progress, 0, number, len(durations))
        if self._has_forked():
            self._end_forked_child(end)
        if message["language"] == "bash" and end["status"] == "ok" and message["final"]:
            end = self._finish_bash()
        ran = len(durations) - (end["status"] != "ok")
        self._end_execution(block, end["status"], final=message["final"], cut=message.get("cut", False))
        self._flush()
        PROGRESS.pack_into(self._progress, 0, 0, 0)
        self._channel.end({"t": "done", "ran": ran, "ns": durations, **end})

    def _prepare(self, *, new: bool) -> None:
        if not new:
            self._streams.reopen()
            return
        self._streams.restore()
        self._trace = None
        if self._recursion_limit is not None:
            self._recursion_limit = None
            sys.setrecursionlimit(self._default_recursion_limit)

    def _run_chunk(self, block: BlockCode, piece: SourcePiece) -> Generator[object, None, Raised | None]:
        try:
            compiled = self._compile(block, *piece)
        except Exception as error:
            return error, "compile"
        if compiled.is_empty:
            return None
        self._begin_statement(compiled)
        _, _, source = piece
        # Code that may replace the hook would lose its own exception (bare_stack): it runs above frames of ours.
        plainly = "unraisablehook" in source
        for code in (compiled.statements, compiled.value):
            if code is None:
                continue
            yield from self._run(code, plainly=plainly)
            if self._runner.error is not None:
                return self._runner.error, "run"
        self._value = self._runner.value
        self._runner.forget()
        self._end_statement(compiled)
        return None

    def _run(self, code: CodeType, *, plainly: bool) -> Iterator[object]:
        """Run code in the program's namespace; how it ended is in ``self._runner``."""
        namespace = self._main.__dict__
        function: Any = eval
        first = code
        if is_coroutine(code):
            function, first = self._awaiter.run, Awaiter.run.__code__
        border: BaseException | None = None
        prepared = [] if plainly else [self._runner.prepare(function, code, namespace, code=first)]
        try:
            self._enter()
            if function is eval:
                self._awaiter.enter()
            if self._trace is not None:
                sys.settrace(self._trace)
            if plainly:
                self._runner.run_plainly(function, code, namespace)
            else:
                yield prepared.pop()  # and no reference to it remains
            self._leave()
        except BaseException as error:  # by a signal handler, on the border between user code and ours
            self._leave()
            border = error
            if prepared:
                self._runner.cancel(prepared.pop())
        self._awaiter.leave()
        self._trace = self._runner.finish()
        if border is None and self._runner.lost and self._interrupts.occurred():
            border = KeyboardInterrupt()  # it came while another exception was on its way to us
        if border is not None:
            self._runner.error = border

    def _enter(self) -> None:
        super()._enter()
        if self._recursion_limit is not None:
            try:
                sys.setrecursionlimit(self._recursion_limit)
            except RecursionError:
                self._recursion_limit = None  # lower than our own depth

    def _leave(self) -> None:
        super()._leave()
        self._recursion_limit = None
        if (limit := sys.getrecursionlimit()) < _OWN_RECURSION_LIMIT:
            self._recursion_limit = limit
            sys.setrecursionlimit(_OWN_RECURSION_LIMIT)

    def _run_bash(self, block: BlockCode, piece: SourcePiece) -> Generator[object, None, Raised | None]:
        yield from ()
        self._flush()
        line, _, source = piece
        try:
            self._interrupts.enter()
            if self._bash is None:
                self._bash = Bash(block.filename.removesuffix(".py") + ".sh", self._folder_of_bash())
            elif block is not self._bash_block:
                self._bash.begin_script()
            self._bash_block = block
            running = self._bash.run(source, line)
            self._interrupts.leave()
        except KeyboardInterrupt as error:
            self._interrupts.leave()
            self._end_bash(interrupt=True)
            return error, "run"
        except Exception as error:  # no bash, no more processes, or a signal handler of the program
            self._interrupts.leave()
            return error, "run"
        if not running:
            return SystemExit(self._end_bash(interrupt=False)), "run"
        return None

    def _finish_bash(self) -> End:
        """How the script ended that has come to its end."""
        if self._bash is None:
            return {"status": "ok", "code": 0}
        finished = self._interruptible(self._bash.finish_script)
        if finished is None:
            self._end_bash(interrupt=True)
            return {"status": "interrupted", "code": None}
        status, goes_on = finished
        if not goes_on:
            self._end_bash(interrupt=False)
        return {"status": "ok", "code": status}

    def _folder_of_bash(self) -> str:
        folder = self._bash_folder
        return folder if folder is not None and os.path.isdir(folder) else os.getcwd()

    def _end_bash(self, *, interrupt: bool) -> int:
        bash, self._bash = self._bash, None
        if bash is None:
            return 0
        self._bash_folder = bash.folder
        return bash.end() if interrupt else bash.close()

    def _say(self, message: dict[str, Any]) -> None:
        self._channel.send(message)

    def _hand_on_output(self) -> None:
        self._flush()
        self._streams.wait_read()

    def _flush(self) -> None:
        if foreign := self._streams.foreign():
            self._interruptible(self._streams.flush_foreign, foreign)
        self._streams.flush()

    def _send_display(self, data: Bundle, metadata: Bundle) -> None:
        """In the order of what is printed: what was before must have been read, and this before what follows."""
        self._hand_on_output()
        self._channel.send_in_order({"t": "display", "data": data, "metadata": metadata})

    def _end_forked_child(self, end: End) -> NoReturn:
        """A child that user code forked has come to the end of what is known of its program."""
        self._interruptible(atexit._run_exitfuncs)
        self._flush()
        status = {"ok": 0, "exit": end["code"]}.get(end["status"], 1)
        os._exit(status)
