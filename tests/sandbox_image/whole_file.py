"""What CPython makes of a whole program, top-level ``await`` allowed: the expected side of running differentials."""

from __future__ import annotations

import ast
import atexit
import inspect
import json
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sandbox_image.preload import environment

#: The names of the program and, of plain values, the value. As a sitecustomize module it writes them at exit.
DUMP = """
import atexit, json, os, sys
def dump(path):
    shown = {k: repr(v) if type(v) in (int, str, float, bool, list, dict, tuple) else type(v).__name__
             for k, v in sys.modules["__main__"].__dict__.items() if not k.startswith("_")}
    with open(path, "w") as file:
        json.dump(shown, file)
"""
_DUMP_AT_EXIT = DUMP + 'atexit.register(dump, os.environ.pop("EAGER_TEST_DUMP", os.devnull))'
#: What python -m asyncio allows and a script does not.
_AWAITING = """
import ast as _ast, asyncio as _asyncio, sys as _sys
with open("main.py", newline="", encoding="utf-8-sig") as _file:
    _code = compile(_file.read(), _sys.path[0] + "/main.py", "exec", _ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
_asyncio.run(eval(_code, globals()))
"""
_FRAME_OF_THE_LOOP = re.compile(
    r'^[ |]*File "[^"]*(?:awaiting|asyncio/runners|asyncio/base_events)\.py", line \d+, in .*\n'
    r"(?:[ |]*     *[^F ].*\n)*",
    re.MULTILINE,
)
#: What a coroutine makes of a StopIteration, and a program that does not await anywhere does not.
_STOPPED = re.compile(
    r"""
The above exception was the direct cause of the following exception:

Traceback \(most recent call last\):
RuntimeError: (?:coroutine raised StopIteration|StopIteration interacts badly with generators and .*)
\Z"""
)


@dataclass
class Outcome:
    stdout: str
    stderr: str
    exit_code: int
    namespace: dict[str, Any]


def stated_environment(python: str, folder: Path) -> dict[str, str]:
    """What a sandbox's program has, whoever starts the tests: nothing of the caller's is passed on.

    Output is unbuffered: a sandbox shows what the program and its children write in the order in which they write it.
    """
    return environment(python, str(folder), _caches()) | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


@cache
def _caches() -> str:
    """What libraries keep from run to run, such as matplotlib's list of fonts, which takes a second to make."""
    folder = tempfile.mkdtemp(prefix="eager-test-caches-")
    atexit.register(shutil.rmtree, folder)
    return folder


def run_whole(python: str, code: str, folder: Path, files: Iterable[Path] = ()) -> Outcome:
    """CPython's own run, in a new folder with copies of ``files``."""
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    (folder / "main.py").write_text(code, encoding="utf-8", newline="")
    script = "main.py"
    if _awaits(code):
        script = "awaiting.py"
        (folder / script).write_text(_AWAITING)
    dump = folder / "dump.json"
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_DUMP_AT_EXIT)
    variables = stated_environment(python, folder) | {"EAGER_TEST_DUMP": str(dump), "PYTHONPATH": str(site)}
    done = subprocess.run(
        [python, script],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=variables,
    )
    namespace = json.loads(dump.read_text()) if dump.exists() else {}
    stderr = done.stderr if script == "main.py" else _STOPPED.sub("", _FRAME_OF_THE_LOOP.sub("", done.stderr))
    return Outcome(done.stdout, stderr, done.returncode, namespace)


def _awaits(code: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compiled = compile(
                code.removeprefix("\ufeff"), "", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
            )
        except (SyntaxError, ValueError):
            return False
    return bool(compiled.co_flags & inspect.CO_COROUTINE)


def same_paths(text: str) -> str:
    """Folders and addresses differ."""
    text = re.sub(r'[^\s"\']*/main(_\d+)?\.py', "main.py", text)
    text = re.sub(r"repeated 9\d\d more", "repeated 9.. more", text)  # 3.11 counts three C calls of ours
    return re.sub(r"0x[0-9a-f]+", "0x", text)
