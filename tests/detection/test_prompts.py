"""Indented cells and pasted sessions are cut as what IPython reads in them, whatever the fragments."""

import json
import re
import subprocess
import sys
from random import Random

import pytest

from app.detection import Chunk, create_detector
from app.detection.python import PythonDetector
from sandbox_image.prompts import take_off
from tests.backends import SANDBOX_ENV

PYTHON = sys.version_info[:2]  # of another version, what does not compile is told by the sandbox
CELLS = [
    " print(1)\n print(2)\n",
    "\n\n    x = 1\n    def f():\n        return 1\n    f()\n",
    "    x = 1; y = 2\n    z = 3  # why\n\n    # end\n",
    "\tif x:\n\t    y\n\telse:\n\t    z\n\tw\n",
    "  s = '''a\n  b\n c'''\n  t\n",
    "  x\ny\n  z\n",
    "  x",
    "  %time x\n  !ls\n  q?\n",
    "  %%bash\n  echo a\n",
    ">>> x = 1\n>>> def f():\n...     return 1\n...\n>>> f()\n",
    ">>> x\n1\n>>> y",
    "  >>> x = 1\n  >>> y\n",
    "In [1]: x = 1\nIn [2]: x\n",
    "In [12]: for i in x:\n    ...:     print(i)\n    ...: \n    ...: y\n",
    "In = 1\nI = 2\nIn [1]\n",
    "In",
    "...\n>x",
    "   \n  \n",
    "   ",
    "",
    "\r\n  x = 1\r\n  y = 2\r\n",
    "  # c\n  x\n",
]
#: Never right, whatever follows.
WRONG = ["  x = 1\n y = 2\n", "  x = 1\n    y = 2\n", ">>> x = = 1\n", "x = 1\n  y = 2\n", "  x = )\n"]


def detect(code: str, sizes: list[int]) -> tuple[list[Chunk], object, str]:
    detector = create_detector("python", PYTHON)
    chunks: list[Chunk] = []
    for size in sizes:
        chunks += detector.feed(code[:size])
        code = code[size:]
    chunks += detector.feed(code) + detector.flush()
    return chunks, detector.problem, detector.remainder


@pytest.mark.parametrize("code", CELLS + WRONG)
def test_every_split_gives_the_same(code: str) -> None:
    whole = detect(code, [])
    assert "".join(chunk.source for chunk in whole[0]) + whole[2] == code
    for size in range(1, len(code)):
        assert detect(code, [size]) == whole
    assert detect(code, [1] * len(code)) == whole
    random = Random(code)
    for _ in range(10):
        assert detect(code, [random.randrange(1, 5) for _ in code]) == whole


@pytest.mark.parametrize("code", [cell for cell in CELLS if cell.strip()])
def test_the_chunks_are_those_of_what_is_left(code: str) -> None:
    chunks, problem, _ = detect(code, [])
    inner = PythonDetector(PYTHON)
    expected = inner.feed(take_off(code, whole=True)) + inner.flush()
    if problem is None:
        assert inner.problem is None
        assert [chunk.line for chunk in chunks] == [chunk.line for chunk in expected]
        assert [chunk.kind for chunk in chunks] == [chunk.kind for chunk in expected]
        for chunk, left in zip(chunks, expected, strict=True):
            if not chunk.column:
                assert take_off(chunk.source, whole=False) == left.source
    else:
        assert inner.problem is not None
        assert code == "...\n>x" or ">>> x\n1" in code


@pytest.mark.skipif(not SANDBOX_ENV.exists(), reason="no sandbox environment: run `make install`")
def test_what_is_taken_off_is_what_ipython_takes_off() -> None:
    # It takes the least indentation of all lines, which is not known while they come: where that is the first one's.
    cells = [
        cell.replace("\r\n", "\n")
        for cell in CELLS + WRONG
        if cell.strip() and not re.search(r"^  .*\n ?\w", cell, re.MULTILINE)
    ]
    script = (
        "import json, sys\n"
        "from IPython.core import inputtransformer2 as t\n"
        "for cell in json.load(sys.stdin):\n"
        "    lines = cell.splitlines(keepends=True)\n"
        "    for step in (t.leading_empty_lines, t.leading_indent, t.classic_prompt, t.ipython_prompt):\n"
        "        lines = step(lines)\n"
        "    print(json.dumps(''.join(lines)))\n"
    )
    command = [str(SANDBOX_ENV.absolute()), "-c", script]
    done = subprocess.run(command, input=json.dumps(cells), capture_output=True, text=True, check=True)
    for cell, line in zip(cells, done.stdout.splitlines(), strict=True):
        ours = re.sub(r"^[ \t]+$", "", take_off(cell, whole=True), flags=re.MULTILINE)
        assert ours.lstrip("\n") == json.loads(line).lstrip("\n")


@pytest.mark.parametrize("code", WRONG)
def test_what_is_wrong_is_found_at_once(code: str) -> None:
    _, problem, _ = detect(code, [])
    assert problem is not None
    assert problem.offset <= len(code)


def test_a_chunk_is_there_at_the_earliest_character() -> None:
    detector = create_detector("python", PYTHON)
    assert [bool(detector.feed(character)) for character in "  x = 1\n  y"] == [False] * 7 + [True] + [False] * 3


@pytest.mark.parametrize(
    "code", [" " * 100_000, "\n" * 100_000, " x = '''" + "a\n" * 50_000, "  " + "(" * 50 + "1," * 50_000]
)
def test_long_beginnings_are_read_in_linear_time(code: str) -> None:
    detector = create_detector("python", PYTHON)
    for start in range(0, len(code), 4):
        detector.feed(code[start : start + 4])
