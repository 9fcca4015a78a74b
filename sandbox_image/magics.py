"""Program. IPython's ``%magic``, ``!shell`` and ``help?``: translated to Python calls, run by IPython or by a few of
ours.

Code is only looked at here once it has failed to compile as Python: no line of these forms is valid Python.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter, process_time
from types import ModuleType
from typing import Any

from sandbox_image.display import Displays

_CANDIDATE = re.compile(r"^[ \t]*[%!?]|\?[ \t]*$|^[^#\n]*=[ \t]*[%!]", re.MULTILINE)
#: Figures are sent without being asked for.
_NOTHING_TO_DO = re.compile(r"^([ \t]*)%(?:matplotlib|config|load_ext\s+autoreload|autoreload)\b.*$", re.MULTILINE)

_CELL = re.compile(r"\s*%%(\w+)[ \t]*(.*)\n?((?:.*\n?)*)")
_ASSIGNED = re.compile(r"^([ \t]*[^#\n=]*[^#\n=!<>]=[ \t]*)([!%])(.*)$")
_LINE = re.compile(r"^([ \t]*)([!%?])(.*)$")
_HELP = re.compile(r"^([ \t]*)([\w.]+)\?{1,2}[ \t]*$")


class UsageError(Exception):
    """A magic that does not exist, or was used in a wrong way."""


class Magics:
    """Translates a chunk; makes ``get_ipython()`` available the first time one needs it."""

    def __init__(self, main: ModuleType, displays: Displays) -> None:
        self._main = main
        self._displays = displays
        self._translate: Callable[[str], str] | None = None

    def translate(self, source: str) -> str | None:
        """The same in Python, on the same lines; None if there is no magic in it."""
        if not _CANDIDATE.search(source):
            return None
        plain = _NOTHING_TO_DO.sub(r"\1pass", source)
        if plain != source and _compiles(plain):
            return plain
        if self._translate is None:
            self._translate = self._start()
        translated = self._translate(plain)
        return translated if translated != source else None

    def _start(self) -> Callable[[str], str]:
        if importlib.util.find_spec("IPython") is None:
            shell = PlainShell(self._main.__dict__)
            builtins.get_ipython = lambda: shell  # type: ignore[attr-defined]
            return _to_python
        from sandbox_image import ipython_shell

        return ipython_shell.start(self._main, self._displays)


class PlainShell:
    """The magics that matter in a sandbox, without IPython."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self._line_magics: dict[str, Callable[[str], Any]] = {
            "time": self._time,
            "cd": lambda line: os.chdir(os.path.expanduser(line.strip() or "~")),
            "pwd": lambda line: os.getcwd(),
            "env": self._env,
            "set_env": self._env,
            "pip": lambda line: self.system(f"{sys.executable} -m pip {line}"),
            "matplotlib": lambda line: None,
            "config": lambda line: None,
            "system": self.getoutput,
            "sx": self.getoutput,
        }
        self._cell_magics: dict[str, Callable[[str, str], Any]] = {
            "time": lambda line, cell: self._time(cell),
            "bash": lambda line, cell: _run(["bash", "-c", cell]),
            "sh": lambda line, cell: _run(["sh", "-c", cell]),
            "script": lambda line, cell: _run(["sh", "-c", f"{line} <<'EOF_'\n{cell}\nEOF_\n"]),
            "writefile": _write_file,
        }

    def run_line_magic(self, name: str, line: str) -> Any:
        if name not in self._line_magics:
            raise UsageError(f"Line magic function `%{name}` not found (IPython is not installed).")
        return self._line_magics[name](self._expand(line))

    def run_cell_magic(self, name: str, line: str, cell: str) -> Any:
        if name not in self._cell_magics:
            raise UsageError(f"Cell magic `%%{name}` not found (IPython is not installed).")
        return self._cell_magics[name](self._expand(line), cell)

    def system(self, command: str) -> None:
        _run(["sh", "-c", self._expand(command)])

    def getoutput(self, command: str) -> list[str]:
        done = subprocess.run(["sh", "-c", self._expand(command)], capture_output=True, text=True, errors="replace")
        sys.stderr.write(done.stderr)
        return done.stdout.splitlines()

    def help(self, name: str) -> None:
        help(eval(name, self._namespace))  # noqa: S307

    def _time(self, code: str) -> Any:
        wall, cpu = perf_counter(), process_time()
        tree = ast.parse(code.strip() + "\n", "<timed>")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "<timed>", "exec"), self._namespace)  # noqa: S102
        value = None
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<timed>", "eval"), self._namespace)  # noqa: S307
        print(f"CPU times: {process_time() - cpu:.3g} s\nWall time: {perf_counter() - wall:.3g} s")
        return value

    def _env(self, line: str) -> Any:
        name, separator, value = line.strip().partition("=" if "=" in line else " ")
        if not name:
            return dict(os.environ)
        if not separator:
            return os.environ.get(name)
        os.environ[name.strip()] = value.strip()
        print(f"env: {name.strip()}={value.strip()}")
        return None

    def _expand(self, text: str) -> str:
        """``{expression}`` and ``$name`` of the program; what is none stays as it is, for the shell."""

        def value(match: re.Match[str]) -> str:
            try:
                return str(eval(match[1] or match[2], self._namespace))  # noqa: S307
            except Exception:
                return match[0]

        return re.sub(r"\{([^{}]+)\}|\$(\w+)", value, text)


def _run(command: list[str]) -> None:
    sys.stdout.flush()
    subprocess.run(command, check=False)


def _write_file(line: str, cell: str) -> None:
    append, _, name = line.rpartition("-a ")
    with open(name.strip(), "a" if append or line.startswith("-a ") else "w", encoding="utf-8") as file:
        file.write(cell)
    print(f"Writing {name.strip()}")


def _to_python(source: str) -> str:
    """IPython's own translation for the simple forms: one line each, any indentation; a cell magic takes the rest."""
    if cell := _CELL.fullmatch(source):
        name, line, body = cell.groups()
        head = source[: source.index("%%")]
        return f"{head}get_ipython().run_cell_magic({name!r}, {line!r}, {body!r})\n"
    return "\n".join(map(_line_to_python, source.split("\n")))


def _line_to_python(line: str) -> str:
    if match := _ASSIGNED.match(line):
        target, mark, rest = match.groups()
        return target + (_call("getoutput", rest) if mark == "!" else _magic_call(rest))
    if match := _LINE.match(line):
        indent, mark, rest = match.groups()
        if mark == "%":
            return indent + _magic_call(rest)
        if mark == "?":
            return indent + _call("help", rest.strip("? \t"))
        return indent + (_call("getoutput", rest[1:]) if rest.startswith("!") else _call("system", rest))
    if match := _HELP.match(line):
        return match[1] + _call("help", match[2])
    return line


def _magic_call(rest: str) -> str:
    name, _, line = rest.strip().partition(" ")
    return f"get_ipython().run_line_magic({name!r}, {line!r})"


def _call(method: str, argument: str) -> str:
    return f"get_ipython().{method}({argument!r})"


def _compiles(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True
