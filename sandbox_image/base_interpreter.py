"""Program. A session apart from how its chunks are run: the program and its blocks, how an execution begins, and what
is told when a chunk has failed or a block has ended. ``interpreter.py`` and ``kernel.py`` are the two ways of running
them."""

from __future__ import annotations

import contextlib
import os
import sys
from abc import ABC, abstractmethod
from types import CodeType, CoroutineType, FrameType
from typing import Any, Literal

from sandbox_image import failures, open_files
from sandbox_image.annotations import AnnotationChain
from sandbox_image.awaiting import Awaiter
from sandbox_image.block import BlockCode, Compiled, Shadows
from sandbox_image.display import Displays
from sandbox_image.interrupts import Interrupts
from sandbox_image.magics import Magics
from sandbox_image.mime import Bundle, bundle
from sandbox_image.namespace import begin_program, new_main_module
from sandbox_image.prompts import take_off

#: What a chunk raised, and whether the compiler or the code did.
Raised = tuple[BaseException, Literal["compile", "run"]]
#: Status and exit code of a ``done`` message.
End = dict[str, Any]
_COROUTINE = 0x80  # inspect.CO_COROUTINE; inspect is slow to import


def is_coroutine(code: CodeType) -> bool:
    """It awaits at its top level."""
    return bool(code.co_flags & _COROUTINE)


def was_not_awaited(value: object) -> bool:
    """A coroutine that has not begun."""
    return type(value) is CoroutineType and value.cr_frame is not None and not (value.cr_suspended or value.cr_running)


def _has_finalizer(value: object) -> bool:
    """Looked up without asking its class, whose metaclass may be the program's."""
    return any("__del__" in kind.__dict__ for kind in type(value).__mro__)


class BaseInterpreter(ABC):
    """All state of a session that is not user data. Methods of the program's objects run in ``_interruptible`` only."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._interrupts = Interrupts()
        self._awaiter = Awaiter()
        self._main = new_main_module()
        self._annotations = AnnotationChain(self._main.__dict__)
        self._displays = Displays(self._send_display, self._place)
        self._displays.install()
        self._magics = Magics(self._main, self._displays)
        self._shadows = Shadows(os.getcwd())
        self._block: BlockCode | None = None
        self._value: Any = None  # of the last statement so far, until the next one runs
        self._made_by: CodeType | None = None  # the value
        self._last_code: CodeType | None = None  # of the program that was run

    @abstractmethod
    def _say(self, message: dict[str, Any]) -> None:
        """Tell the gateway. The execution that it belongs to is added."""

    @abstractmethod
    def _hand_on_output(self) -> None:
        """All that was printed is to come before what is said next."""

    @abstractmethod
    def _prepare(self, *, new: bool) -> None:
        """Make the process fit to run a ``new`` program, or more of the last one."""

    def _enter(self) -> None:
        """Code of the program follows."""
        self._interrupts.enter()

    def _leave(self) -> None:
        """It is over. Harmless when called twice."""
        self._interrupts.leave()

    def _has_forked(self) -> bool:
        """This is a child that user code forked."""
        return os.getpid() != self._pid

    def _begin(self, name: str, *, trial: bool) -> BlockCode:
        """The block that an execution belongs to. From here on it may be interrupted. A ``trial`` is of no program."""
        block = self._block
        new = block is None or block.over or block.name != name
        if block is None or new:
            self._value = self._last_code = None
            self._block = block = self._shadows.new_block(name, counts=not trial)
            begin_program(self._main, block.filename)
            self._annotations.clear()
            self._awaiter.begin_program()
        self._prepare(new=new)
        self._displays.begin()
        self._interrupts.begin(new_block=new)  # forgets interrupts that came too late
        return block

    def _compile(self, block: BlockCode, line: int, column: int, source: str) -> Compiled:
        if "In [" in source and not column:  # with such a prompt it may be valid: an annotation
            source = take_off(source, whole=line == 1)
        try:
            return block.compile(line, column, source)
        except SyntaxError:
            plain = source if column else take_off(source, whole=line == 1)
            if plain != source:
                with contextlib.suppress(SyntaxError):
                    return block.compile(line, column, plain)
            translated = self._magics.translate(plain)
            if translated is None and plain == source:
                raise
            return block.compile(line, column, plain if translated is None else translated)

    def _place(self) -> tuple[str, int]:
        """File and line at which the program is, or at which it has ended."""
        filename = self._block.filename if self._block is not None else ""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if frame.f_code.co_filename == filename:
                return filename, frame.f_lineno
            frame = frame.f_back
        lines = self._last_code.co_lines() if self._last_code is not None else ()
        return filename, max((line for _, _, line in lines if line is not None), default=1)

    def _begin_statement(self, compiled: Compiled) -> None:
        self._let_go_of_value()
        saved = self._displays.figures.saved
        if saved.begin_statement(compiled.call, self._main.__dict__):
            self._interruptible(saved.settle)

    def _end_statement(self, compiled: Compiled) -> None:
        """It has run, and ``_value`` is its own: kept until the next one, or the block's end, if it may be shown."""
        self._annotations.extend()
        self._made_by = compiled.value
        self._last_code = compiled.value or compiled.statements
        if compiled.quiet or was_not_awaited(self._value):
            self._let_go_of_value()

    def _let_go_of_value(self) -> None:
        """It goes where Python drops it, which is its statement: there it warns of a coroutine that nobody awaits, or
        of a file that nobody closes."""
        if self._value is not None and self._made_by is not None and _has_finalizer(self._value):
            values, self._value = [self._value], None
            *_, (_, _, line) = self._made_by.co_lines()
            code = compile("\n" * ((line or 1) - 1) + "pop()", self._made_by.co_filename, "exec", dont_inherit=True)
            self._interruptible(exec, code, {"pop": values.pop})
        self._value = None

    def _fail(self, block: BlockCode, index: int, error: BaseException, phase: Literal["compile", "run"]) -> End:
        """Tell how a chunk failed."""
        if isinstance(error, SystemExit):
            code = self._interruptible(failures.exit_code, error)
            if code is None and self._interrupts.occurred():
                return {"status": "interrupted", "code": None}
            return {"status": "exit", "code": 1 if code is None else code, **self._describe_exit(error, block)}
        if isinstance(error, KeyboardInterrupt) and self._interrupts.occurred():
            return {"status": "interrupted", "code": None}
        described = self._interruptible(failures.describe, error, block.filename, phase)
        if described is None:
            if self._interrupts.occurred():
                return {"status": "interrupted", "code": None}
            described = failures.describe_blindly(error, phase)
        self._interruptible(failures.call_excepthook, error)
        if self._has_forked():
            print(described["traceback"], end="", file=sys.stderr)
        self._hand_on_output()
        self._say({"t": "error", "chunk": index, **described})
        return {"status": "error", "code": None}

    def _describe_exit(self, error: SystemExit, block: BlockCode) -> dict[str, Any]:
        return self._interruptible(failures.describe_exit, error, block.filename) or {}

    def _end_execution(self, block: BlockCode, status: str, *, final: bool, cut: bool) -> None:
        """Show what is to be seen at the end of a block, if this is its end; ``cut``: its last statement is missing."""
        if status == "ok" and final and not cut:
            self._show_result()
        block.over = final or status != "ok"
        if block.over:
            self._let_go_of_value()
            if status != "interrupted":
                self._interruptible(self._displays.figures.finish)
            self._interruptible(open_files.flush)
            self._shadows.end_block()

    def _show_result(self) -> None:
        """The value of the block's last statement."""
        value = self._value
        if value is None:
            return
        shown = self._interruptible(bundle, value, self._place)
        self._interruptible(self._displays.figures.mark_shown, value)
        if shown is not None and shown[0]:
            self._hand_on_output()
            self._say({"t": "result", "data": shown[0], "metadata": shown[1]})

    def _send_display(self, data: Bundle, metadata: Bundle) -> None:
        self._hand_on_output()
        self._say({"t": "display", "data": data, "metadata": metadata})

    def _interruptible(self, function: Any, *arguments: Any) -> Any:
        """Call what runs methods of the program's objects; None if it was cut short by a signal handler or has raised.
        Called by running code it is part of that."""
        if self._interrupts.inside:
            return function(*arguments)
        try:
            self._enter()
            value = function(*arguments)
            self._leave()
        except BaseException:
            self._leave()
            return None
        return value
