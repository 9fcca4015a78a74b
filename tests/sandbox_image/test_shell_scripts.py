"""A script that runs piece by piece, as detection cuts it, prints and ends as ``bash main.sh``.

``EAGER_FULL=1`` compares 20,000 generated scripts; ``python -m tests.sandbox_image.test_shell_scripts [SEED COUNT]``
shows what differs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from app.detection.bash import BashDetector
from tests.sandbox_image.shell_scripts import WRITTEN, Scripts

ROOT = Path(__file__).parents[2]
FULL = os.environ.get("EAGER_FULL") == "1"
#: For one script, and for the pieces of all.
_PATIENCE_S = 100.0 if not FULL else 100_000.0
#: Runs the chunks of each line with the sandbox's shell, and prints [output, status].
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8"}
_DRIVER = """
import json, os, sys, shutil, time
sys.path.insert(0, sys.argv[1])
from sandbox_image.shell import Bash
answers = os.dup(1)
for number, line in enumerate(sys.stdin):
    chunks = json.loads(line)
    work, script = os.path.abspath(f"w{number}"), os.path.abspath(f"s{number}/main.sh")
    os.mkdir(work); os.mkdir(os.path.dirname(script))
    out = os.open("out", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(out, 1); os.dup2(out, 2); os.close(out)
    bash = Bash(script, work)
    status = None
    for start, source in chunks:
        if not bash.run(source, start):
            status = bash.close()
            break
    else:
        status, goes_on = bash.finish_script()
        if not goes_on:
            bash.close()
        else:
            bash.end(9)
    with open("out", "rb") as file:
        text = file.read().decode("utf-8", "replace")
    os.write(answers, (json.dumps([text, status]) + "\\n").encode())
    shutil.rmtree(work); shutil.rmtree(os.path.dirname(script))
"""


def _run(command: list[str], folder: Path, *, given: str | None = None, out: Any = None) -> tuple[int, str, str]:
    """Status, output and errors. What takes too long ends with all that it has started."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=out or subprocess.PIPE,
        stderr=out or subprocess.PIPE,
        text=True,
        env=_ENVIRONMENT,
        start_new_session=True,
    )
    with process:
        try:
            said, failed = process.communicate(given, timeout=_PATIENCE_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, said or "", failed or ""


def whole(script: str, folder: Path) -> tuple[str, int]:
    """As bash runs it from a file."""
    folder.mkdir()
    (folder / "main.sh").write_text(script)
    with (folder.parent / "whole.out").open("w+b") as out:
        status, _, _ = _run(["bash", "main.sh"], folder, out=out)
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    return text, status if status >= 0 else 128 - status


def in_pieces(scripts: Sequence[str], folder: Path) -> list[tuple[str, int, bool]]:
    """Output and status of each, and whether detection has found an error in it."""
    lines, wrong = [], []
    for script in scripts:
        detector = BashDetector()
        chunks = [chunk for character in script for chunk in detector.feed(character)] + detector.flush()
        lines.append(json.dumps([[chunk.line, chunk.source] for chunk in chunks]))
        wrong.append(detector.problem is not None)
    folder.mkdir()
    command = [sys.executable, "-c", _DRIVER, str(ROOT)]
    _, answered, failed = _run(command, folder, given="\n".join(lines))
    assert failed == ""
    answers = map(json.loads, answered.splitlines())
    return [(text, status, problem) for (text, status), problem in zip(answers, wrong, strict=True)]


def differences(scripts: Sequence[str], folder: Path) -> list[tuple[str, tuple[str, int], tuple[str, int]]]:
    """The script, what bash makes of it, and what we do."""
    found = []
    pieces = in_pieces(scripts, folder / "pieces")
    for number, (script, (text, status, problem)) in enumerate(zip(scripts, pieces, strict=True)):
        expected = whole(script, folder / str(number))
        # What is wrong is told by detection; what stands before it has run.
        if not (expected[0].startswith(text) and expected[1]) if problem else not _same(expected, (text, status)):
            found.append((script, expected, (text, status)))
    return found


def _same(one: tuple[str, int], other: tuple[str, int]) -> bool:
    """The parts of a pipeline write in any order."""
    return one[1] == other[1] and sorted(one[0].splitlines()) == sorted(other[0].splitlines())


def test_written_scripts(tmp_path: Path) -> None:
    assert differences(WRITTEN, tmp_path) == []


@pytest.mark.timeout(0 if FULL else 120)
def test_generated_scripts(tmp_path: Path) -> None:
    assert differences(list(islice(Scripts(1), 20_000 if FULL else 150)), tmp_path) == []


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        scripts = WRITTEN
        if len(sys.argv) > 2:
            scripts = list(islice(Scripts(int(sys.argv[1])), int(sys.argv[2])))
        found = differences(scripts, Path(folder))
    for script, expected, pieces in found:
        print(
            f"{script}\n--- bash, status {expected[1]}\n{expected[0]}\n--- in pieces, {pieces[1]}\n{pieces[0]}\n====="
        )
    print(f"{len(scripts)} scripts, {len(found)} differ")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
