"""Small programs as models write them, executed while they are written, against CPython's run of the whole file.

``python -m tests.scenarios.test_small_programs`` runs all of them (some four minutes) and tells which differ; here runs
a part. Programs of notebooks are in ``tests/sandbox_image/notebook.py``, against IPython.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.backends import SANDBOX_ENV, require_backend
from tests.sandbox_image.whole_file import same_paths
from tests.scenarios.running import Sandbox
from tests.scenarios.test_running_differential import whole_run

_FILE = Path(__file__).with_name("small_programs.txt")
_INDENT = re.compile(r"^(?:__)+(?=[^_])", re.MULTILINE)
_CLEAN = """
import os, shutil
for name in os.listdir("."):
    shutil.rmtree(name) if os.path.isdir(name) and not os.path.islink(name) else os.remove(name)
"""
_SYNTAX_ERROR = re.compile(r"^\w*Error:", re.MULTILINE)
PRELOAD = "pandas,matplotlib.pyplot"
#: Of which every so many runs in the tests.
_STEP = 11


def programs() -> list[str]:
    lines = [line for line in _FILE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("## ")]
    return [_INDENT.sub(lambda m: "    " * (len(m[0]) // 2), line.replace(" ⏎ ", "\n")) + "\n" for line in lines]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    require_backend("local")
    with Sandbox(SANDBOX_ENV, preload=PRELOAD, isolated=False) as sandbox:
        yield sandbox


def differences(code: str, sandbox: Sandbox) -> dict[str, tuple[object, object]]:
    """What we have, and what CPython has, of each thing that is not the same. Not the names that are left, as
    elsewhere: these programs keep times and descriptors."""
    whole = whole_run(code, SANDBOX_ENV)
    sandbox.run(_CLEAN, Random(0))
    sandbox.reset()
    found = sandbox.run(code, Random(code))
    if found.problem or (found.failure is not None and found.failure.phase == "compile"):
        return {} if _SYNTAX_ERROR.search(whole.stderr) else {"problem": (found.problem or found.failure, whole.stderr)}
    sides = {
        "stdout": (same_paths(found.stdout), same_paths(whole.stdout)),
        "stderr": (same_paths(found.stderr), same_paths(whole.stderr)),
        "exit code": (found.exit_code, max(whole.exit_code, -whole.exit_code // 2)),  # KeyboardInterrupt: by SIGINT
    }
    return {name: (ours, theirs) for name, (ours, theirs) in sides.items() if ours != theirs}


@pytest.mark.parametrize("code", programs()[::_STEP])
def test_a_small_program(code: str, sandbox: Sandbox) -> None:
    assert differences(code, sandbox) == {}


def main() -> int:
    codes = programs()
    differing = 0
    with Sandbox(SANDBOX_ENV, preload=PRELOAD, isolated=False) as sandbox:
        for code in codes:
            try:
                found = differences(code, sandbox)
            except AssertionError as stopped:  # at the time limit
                found = {"end": (stopped, "it ends")}
            differing += bool(found)
            for name, (ours, theirs) in found.items():
                print(f"--- {code}{name} here:\n{ours}\nof CPython:\n{theirs}", flush=True)
    print(f"{len(codes)} programs, {differing} differ")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
