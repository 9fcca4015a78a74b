"""Program. The interpreter of a session that is a Jupyter kernel: sent there as source
(``app/sandbox/jupyter/kernel.py``), called by one comm message per execution, in the kernel's main thread. A cell would
do, and costs 1.3 ms more.

Chunks run as in ``interpreter.py``: one file name, one set of future flags, lines that count through, the last
expression only at the end, figures at the end of the block. What it says goes out as ``display_data`` of a MIME type of
ours; it is as untrusted as the code it runs. Where a kernel differs from our own interpreter:

- frames of the kernel are below the program's: ``print_stack``, ``stacklevel`` and the recursion limit show it;
- the streams are ipykernel's: what C code and subprocesses write comes when it comes, not in order, and what was
  written just before the process dies may be lost; they cannot be closed; ``input()`` raises ipykernel's error;
- a signal handler of the program's is kept for its block, but the process has threads, a running event loop (hidden
  from the program, so that ``asyncio.run`` works) and modules that a script has not;
- a child of ``os.fork()`` ends at the end of the execution; there is no bash.
"""

from __future__ import annotations

import _sitebuiltins
import asyncio
import atexit
import builtins
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter_ns
from types import CodeType
from typing import Any, Final

from sandbox_image import first_uses, preload
from sandbox_image.base_interpreter import BaseInterpreter, End, Raised, is_coroutine
from sandbox_image.block import BlockCode, SourcePiece
from sandbox_image.kernel_files import KernelFiles
from sandbox_image.namespace import use_work_folder
from sandbox_image.protocol import PROTOCOL_VERSION

#: The comm that takes our calls.
COMM_ID: Final = "eager"
#: A message of ours, as JSON text.
MESSAGE_MIME: Final = "application/vnd.eager.message"
#: How many chunks have ended, told before the next one begins.
PROGRESS_MIME: Final = "application/vnd.eager.progress"
#: A piece of a file, as base64.
DATA_MIME: Final = "application/vnd.eager.data"

_NO_BASH: Final[Raised] = NotImplementedError("this kernel runs Python only"), "compile"


class KernelInterpreter(BaseInterpreter):
    """A session inside a kernel's shell."""

    def __init__(self, shell: Any) -> None:
        super().__init__()
        self._shell = shell
        self._publisher = shell.display_pub
        self._id = 0
        self._streams = sys.stdin, sys.stdout, sys.stderr
        for stream in self._streams[1:]:
            if not hasattr(stream, "reconfigure"):
                vars(stream)["reconfigure"] = _reconfigure
            vars(stream)["close"] = stream.flush  # a closed one could not be opened anew for the next program
        self._in_order = False  # what is written to both
        self._exits = {name: _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)") for name in ("exit", "quit")}
        self._excepthook: Callable[..., object] = sys.__excepthook__  # the program's
        self.files = KernelFiles(os.getcwd(), self.send, lambda text: self._publish(DATA_MIME, text))
        shell.user_module, shell.user_ns = self._main, self._main.__dict__
        shell.display_pub.publish = self._displays.publish
        shell.display_pub.clear_output = self._displays.clear_output
        shell.set_hook("show_in_pager", _print_page, 0)  # of ``name?``: ipykernel's is a window of the notebook

    def execute(self, message: dict[str, Any]) -> None:
        self._interrupts.leave()  # ipykernel has set a handler of its own
        self._id = message["id"]
        block = self._begin(message["block"], trial=message.get("trial", False))
        chunks = message["chunks"]
        block.add((line, column, source) for _, line, column, source in chunks)
        durations: list[int] = []
        self._tell_progress(0)  # from here on we may be interrupted
        end: End = {"status": "ok", "code": None}
        for index, line, column, source in chunks:
            if durations and not self._has_forked():
                self._tell_progress(len(durations))
            started = perf_counter_ns()
            failure = self._run_chunk(block, (line, column, source)) if message["language"] == "python" else _NO_BASH
            durations.append(perf_counter_ns() - started)
            if failure is not None:
                end = self._fail(block, index, *failure)
                failure = None  # what its frames alone refer to goes while output still belongs to this execution
                break
        if self._has_forked():  # a child that user code forked has come to the end of what is known
            self._hand_on_output()
            os._exit({"ok": 0, "exit": end["code"]}.get(end["status"], 1))
        ran = len(durations) - (end["status"] != "ok")
        self._end_execution(block, end["status"], final=message["final"], cut=message.get("cut", False))
        self._excepthook = sys.excepthook
        self._hand_on_output()
        self._say({"t": "done", "ran": ran, "ns": durations, **end})
        self._id = 0

    def send(self, message: dict[str, Any]) -> None:
        self._publish(MESSAGE_MIME, json.dumps(message))

    def _publish(self, mime: str, text: str) -> None:
        """As the shell's publisher does, which waits for both streams each time (12 times 0.1 ms per execution). The
        session takes content that is JSON already; its own encoding takes eight times as long (3 ms for an image)."""
        publisher = self._publisher
        content = json.dumps({"data": {mime: text}, "metadata": {}, "transient": {}})
        publisher.session.send(
            publisher.pub_socket, "display_data", content, parent=publisher.parent_header, ident=publisher.topic
        )

    # ------------------------------------------------------------ a comm, to the kernel

    comm_id = target_name = COMM_ID

    def handle_msg(self, message: dict[str, Any]) -> None:
        """An execution, or an operation on the work folder. What fails is told as a cell's failure is."""
        try:
            with self._shell.builtin_trap, self._shell.display_trap:
                call = message["content"]["data"]
                if call["op"] == "execute":
                    self.execute(call)
                else:
                    self.files.handle(call)
        except BaseException:
            self._shell.showtraceback()

    def _say(self, message: dict[str, Any]) -> None:
        if (number := self._id) and not self._has_forked():  # nothing runs: a thread; a child would speak for us
            self.send({**message, "id": number})

    def _tell_progress(self, ran: int) -> None:
        self._publish(PROGRESS_MIME, str(ran))
        self._hand_on_output()

    def _prepare(self, *, new: bool) -> None:
        if new:
            if getattr(self._streams[0], "closed", False):  # by ``exit()``
                self._streams = (open(0, encoding="utf-8", closefd=False), *self._streams[1:])  # noqa: SIM115
            sys.stdin, sys.stdout, sys.stderr = self._streams
            if not self._in_order:  # not while we are made, in a cell: IPython puts back how they wrote before it
                self._in_order = True
                _keep_order(*self._streams[1:])
            self._excepthook = sys.__excepthook__
        sys.excepthook = self._excepthook  # IPython puts its own there for every cell
        for exit, quitter in self._exits.items():  # hidden by IPython while a cell runs
            setattr(builtins, exit, quitter)

    def _run_chunk(self, block: BlockCode, piece: SourcePiece) -> Raised | None:
        try:
            compiled = self._compile(block, *piece)
        except Exception as error:
            return error, "compile"
        if compiled.is_empty:
            return None
        self._begin_statement(compiled)
        for code in (compiled.statements, compiled.value):
            if code is not None:
                try:
                    self._value = self._run(code)
                except BaseException as error:
                    return error, "run"
        self._end_statement(compiled)
        return None

    def _run(self, code: CodeType) -> Any:
        run: Any = self._awaiter.run if is_coroutine(code) else eval
        with _no_running_loop():
            try:
                self._enter()
                if run is eval:
                    self._awaiter.enter()
                return run(code, self._main.__dict__)
            finally:
                self._leave()
                self._awaiter.leave()

    def _hand_on_output(self) -> None:
        """To the kernel's thread that sends it: it does so before we return."""
        files: tuple[Any, ...] = (sys.stdout, sys.stderr, *self._streams[1:], sys.__stdout__)
        for file in files:
            with contextlib.suppress(Exception):
                # ipykernel's wait for their thread also when there is nothing, and tell only so that there is. By
                # identity: what the program has put in their place may not be comparable.
                ours = any(file is stream for stream in self._streams)
                if not ours or getattr(file, "_flush_pending", True):
                    file.flush()


def _print_page(shell: Any, page: Any, *options: Any, **more: Any) -> None:
    print(page["text/plain"] if isinstance(page, dict) else page)


def _keep_order(stdout: Any, stderr: Any) -> None:
    """ipykernel sends what was written to a stream a while later, each at its own time: before text is written to one,
    the other has to be sent."""
    pid = os.getpid()

    def add(stream: Any, other: Any) -> None:
        write = stream.write

        def write_behind(text: str) -> int | None:
            if getattr(other, "_flush_pending", True) and os.getpid() == pid:  # a forked child would send it again
                other.flush()
            written: int | None = write(text)
            return written

        vars(stream)["write"] = write_behind

    add(stdout, stderr)
    add(stderr, stdout)


def _reconfigure(
    *,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    line_buffering: bool | None = None,
    write_through: bool | None = None,
) -> None:
    """What programs do to the streams of a script. ipykernel's send text as it is: there is nothing to set."""


@contextlib.contextmanager
def _no_running_loop() -> Iterator[None]:
    """The kernel runs us inside a task of its event loop. The program may run loops of its own, as a script can."""
    loop = asyncio._get_running_loop()
    if loop is None:
        yield
        return
    task = asyncio.current_task(loop)
    if task is not None:
        asyncio.tasks._leave_task(loop, task)
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)
        if task is not None:
            asyncio.tasks._enter_task(loop, task)


def start(shell: Any, folder: str | None, modules: Sequence[str]) -> None:
    """To be called once. ``folder`` is where the program works; None makes one that ends with the kernel. ``modules``
    are imported ahead, those that are there."""
    if folder is None:
        folder = tempfile.mkdtemp(prefix="eager-kernel-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.chdir(folder)
    use_work_folder()
    os.environ["MPLBACKEND"] = "agg"  # ipykernel's own would send figures at the end of every execution
    preload.import_modules(modules)
    first_uses.warm_up()
    preload.freeze()
    interpreter = KernelInterpreter(shell)
    shell.kernel.comm_manager.register_comm(interpreter)
    ready = {"protocol": PROTOCOL_VERSION, "python": sys.version_info[:3], "languages": ["python"], "workdir": folder}
    interpreter.send({"t": "ready", **ready})
