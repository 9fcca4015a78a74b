"""Boundaries, emission, text and verdicts against CPython: a sample of what ``tests.detection.everything`` compares.

``EAGER_FULL=1`` compares all of it here: every CPython, every file of this machine, hours of one core.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.detection import differential, everything
from tests.detection.snippets import INSERTS, LINES

FULL = os.environ.get("EAGER_FULL") == "1"
SIZES = {"files": 25, "damaged": 150, "truncated": 60, "relaid": 60, "generated": 1_200, "magics": 800}
ELSEWHERE = {"files": 5, "damaged": 50, "truncated": 20, "relaid": 20, "generated": 600, "magics": 300}
SEED = 1
#: Made by scripts/cpython where there is none.
NEWEST = everything.MINORS[-1]

pytestmark = [
    # Of the code that is compared: invalid escapes, odd comparisons.
    pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning"),
    pytest.mark.timeout(0 if FULL else 120),
]


@pytest.fixture(scope="module")
def list_of_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("everything") / "files.txt"
    if FULL:
        path.write_text("\n".join(map(str, everything.files(everything.folders()))))
    return path


@pytest.mark.parametrize("kind", differential.KINDS)
@pytest.mark.parametrize("minor", [*everything.MINORS[:-1], pytest.param(NEWEST, marks=pytest.mark.cpython)])
def test_the_detector_agrees_with_cpython(minor: int, kind: str, list_of_files: Path) -> None:
    python = everything.interpreter(minor)
    if python is None:
        pytest.skip(f"no CPython 3.{minor} is installed")
    if FULL:
        result = everything.compare(python, kind, list_of_files)
    elif python == sys.executable:
        result = differential.run(kind, SEED, SIZES[kind])
    else:
        command = [python, "-m", "tests.detection.differential", kind, str(SEED + minor), str(ELSEWHERE[kind])]
        done = subprocess.run(command, cwd=everything.ROOT, capture_output=True, check=True)
        result = json.loads(done.stdout)
    assert result["differences"] == []
    assert result["valid"] > 0


@settings(max_examples=2_000 if FULL else 150, deadline=None)
@given(st.lists(st.sampled_from(LINES + INSERTS), max_size=8).map("".join), st.randoms(use_true_random=False))
def test_any_program_in_any_split(text: str, random: Random) -> None:
    assert differential.difference(text, random) is None


@settings(max_examples=2_000 if FULL else 150, deadline=None)
@given(st.text("ab=\n\t \\#:;()'\"{}rfe", max_size=30), st.randoms(use_true_random=False))
def test_any_text_in_any_split(text: str, random: Random) -> None:
    assert differential.difference(text, random) is None
