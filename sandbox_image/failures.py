"""Program. An exception of the program, told as CPython tells it for the whole program."""

from __future__ import annotations

import _thread
import os
import sys
import traceback
from types import TracebackType
from typing import Any, Literal, TextIO

from sandbox_image import missing

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
#: Far above any traceback one reads, far below the largest frame.
_MAX_TEXT = 1024 * 1024
_MAX_EVALUE = 64 * 1024
#: What CPython itself passes on from 3.13: with ``sys.tracebacklimit`` the last entries are shown, and not the first.
_LIMIT = getattr(traceback, "BUILTIN_EXCEPTION_LIMIT", None)
#: plotly's own advice is to install what needs a browser.
_NO_PICTURES_OF_PLOTLY = (
    "plotly can make no picture in this sandbox, which has no browser: fig.show() shows the chart, and "
    "fig.write_html(...) saves it"
)
_NO_INPUT = "input() is not available: the program has no standard input"


def clean(text: str, limit: int = _MAX_TEXT) -> str:
    """As stderr would print it (no lone surrogates), the middle left out if it is too long."""
    if len(text) > limit:
        text = f"{text[: limit // 2]}\n[... {len(text) - limit} characters left out ...]\n{text[-limit // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode()


def as_text(error: BaseException) -> str:
    """The traceback. The exception's own ``__str__`` takes part and may fail in any way."""
    try:
        if sys.version_info >= (3, 13):
            return clean("".join(traceback.format_exception(error, limit=_LIMIT)))
        return clean(_printed(error))
    except Exception as failure:
        return f"{type(error).__name__}: <traceback cannot be shown: {type(failure).__name__}>\n"


def headline(error: BaseException) -> str:
    """Type and message."""
    return f"{type(error).__name__}: {_message(error)}".removesuffix(": ")


def describe(error: BaseException, filename: str, phase: Literal["compile", "run"]) -> dict[str, Any]:
    """The fields of an ``error`` message, but for its id and chunk."""
    if phase == "compile":
        error.__traceback__ = error.__context__ = None  # our calls of the compiler
        line = error.lineno if isinstance(error, SyntaxError) else None
    else:
        error.__traceback__ = without_runner(error.__traceback__, filename)
        line = _innermost_line(error.__traceback__, filename)
    hint = ""
    if isinstance(error, EOFError) and error.args == ("EOF when reading a line",):
        error.add_note(_NO_INPUT)
        hint = f" ({_NO_INPUT})"
    if isinstance(error, ValueError) and "Kaleido" in _message(error):
        error.add_note(_NO_PICTURES_OF_PLOTLY)
    if isinstance(error, ModuleNotFoundError) and (where := missing.note(error.name)):
        error.add_note(where)
    return {
        "ename": clean(type(error).__name__, 1000),
        "evalue": clean(_message(error) + hint, _MAX_EVALUE),
        "traceback": as_text(error),
        "line": line,
        "phase": phase,
    }


def describe_exit(error: SystemExit, filename: str) -> dict[str, Any]:
    """What it says and where it is: fields of a ``done`` message. It may run the program's code."""
    said = None if error.code is None or isinstance(error.code, int) else clean(str(error.code), _MAX_EVALUE)
    return {"evalue": said, "line": _innermost_line(error.__traceback__, filename)}


def describe_blindly(error: BaseException, phase: Literal["compile", "run"]) -> dict[str, Any]:
    """The same without a look at it, for one that does not let itself be described."""
    name = clean(type.__dict__["__name__"].__get__(type(error)), 1000)
    text = f"{name}: <traceback cannot be shown>\n"
    return {"ename": name, "evalue": "", "traceback": text, "line": None, "phase": phase}


def without_runner(entry: TracebackType | None, filename: str = "") -> TracebackType | None:
    """Cut our frames, and what is before the first frame of the file, off both ends."""
    first = entry
    while first is not None and first.tb_frame.f_code.co_filename != filename:
        first = first.tb_next
    if first is None:  # it was raised outside the program's own code
        first = entry
        while first is not None and _is_ours(first):
            first = first.tb_next
    last = None
    entry = first
    while entry is not None:
        if not _is_ours(entry):
            last = entry
        entry = entry.tb_next
    if last is not None:
        last.tb_next = None
    return first


def exit_code(error: SystemExit) -> int:
    """Exit status of the process, as sys.exit() defines it; a message goes to stderr. It may run the program's code."""
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        number = int.__pos__(code)
        return number & 0xFF if -(1 << 63) <= number < 1 << 63 else 0xFF  # -1 where it is no C long
    try:
        print(code, file=sys.stderr)
    except Exception:
        print(file=sys.stderr)
    return 1


def _printed(error: BaseException) -> str:
    """Until 3.12 the interpreter prints in C and not quite what the traceback module says (hints, carets)."""
    capture = _Capture(getattr(sys, "stderr", None))
    sys.stderr = capture
    try:
        sys.__excepthook__(type(error), error, error.__traceback__)
    finally:
        sys.stderr = capture.others
    return "".join(capture.parts)


class _Capture:
    """Takes what our thread writes; other threads of the program go on printing."""

    def __init__(self, others: TextIO | None) -> None:
        self.others = others
        self.parts: list[str] = []
        self._thread = _thread.get_ident()

    def write(self, text: str) -> int:
        if _thread.get_ident() != self._thread:
            return self.others.write(text) if self.others is not None else 0
        self.parts.append(text)
        return len(text)

    def flush(self) -> None:
        pass


def call_excepthook(error: BaseException) -> None:
    """A hook of the program's own runs, as at the end of a script. The default one would print what we send, which also
    follows what is said of a hook that fails."""
    hook = sys.excepthook
    if hook is sys.__excepthook__ or getattr(hook, "__module__", "").startswith("IPython."):
        return
    try:
        hook(type(error), error, error.__traceback__)
    except Exception as failure:
        failure.__traceback__ = without_runner(failure.__traceback__)
        text = as_text(failure)
        print("Error in sys.excepthook:", text, "Original exception was:", sep="\n", file=sys.stderr)


def _message(error: BaseException) -> str:
    """Of a syntax error without file and line, which are told apart: the same words wherever it was found."""
    try:
        return str(error.msg) if isinstance(error, SyntaxError) and error.msg is not None else str(error)
    except Exception:
        return "<exception str() failed>"


def _is_ours(entry: TracebackType) -> bool:
    return entry.tb_frame.f_code.co_filename.startswith(_HERE)


def _innermost_line(entry: TracebackType | None, filename: str) -> int | None:
    line = None
    while entry is not None:
        if entry.tb_frame.f_code.co_filename == filename:
            line = entry.tb_lineno
        entry = entry.tb_next
    return line
