"""Boundaries, emission, text and verdicts against CPython. ``EAGER_FULL=1``: every file here, and far more programs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.detection import differential
from tests.detection.snippets import INSERTS, LINES

FULL = os.environ.get("EAGER_FULL") == "1"
ROOT = Path(__file__).parents[2]
SIZES = {"files": 0, "damaged": 0, "generated": 200_000} if FULL else {"files": 25, "damaged": 150, "generated": 1_200}
ELSEWHERE = {"files": 0, "damaged": 0, "generated": 200_000} if FULL else {"files": 5, "damaged": 50, "generated": 600}
SEED = 1

pytestmark = [
    # Of the code that is compared: invalid escapes, odd comparisons.
    pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning"),
    pytest.mark.timeout(0 if FULL else 120),
]


@pytest.mark.parametrize("kind", SIZES)
def test_the_detector_agrees_with_this_interpreter(kind: str) -> None:
    folders = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")] if FULL else []
    assert differential.run(kind, SEED, SIZES[kind])["differences"] == []
    if folders:
        assert differential.run(kind, SEED, SIZES[kind], folders)["differences"] == []


def _interpreter(minor: int) -> str | None:
    """CPython 3.``minor``: on the PATH, or installed by pyenv."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python3.{minor}"), *map(str, sorted(versions.glob(f"3.{minor}.*/bin/python")))]
    for candidate in filter(None, candidates):
        answer = subprocess.run([candidate, "-c", "import sys; print(sys.version_info[1])"], capture_output=True)
        if answer.stdout.split() == [str(minor).encode()]:
            return candidate
    return None


@pytest.mark.parametrize("kind", ELSEWHERE)
@pytest.mark.parametrize("minor", [12, 13, 14])
def test_the_detector_agrees_with_another_cpython(minor: int, kind: str) -> None:
    python = _interpreter(minor)
    if python is None or sys.version_info[1] == minor:
        pytest.skip(f"no other CPython 3.{minor} is installed")
    command = [python, "-m", "tests.detection.differential", kind, str(SEED + minor), str(ELSEWHERE[kind])]
    result = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
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
