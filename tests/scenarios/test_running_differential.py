"""Programs executed while they are written, in random splits and batches, against CPython's run of the whole file.

stdout, stderr with the traceback, exit status, the names that are left and the value shown at the end. ``EAGER_FULL=1``
runs thousands of written programs instead of dozens.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.backends import SANDBOX_ENV, require_backend
from tests.sandbox_image.fidelity_programs import PROGRAMS
from tests.sandbox_image.whole_file import Outcome, run_whole, same_paths
from tests.scenarios.running import Eager, Sandbox
from tests.scenarios.written_programs import broken, program
from tests.tricky.programs import CASES

FULL = os.environ.get("EAGER_FULL") == "1"
CORPUS = Path(__file__).parents[1] / "corpus"
MANIFEST = [json.loads(line) for line in (CORPUS / "manifest.jsonl").read_text().splitlines()]
PYTHON = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
#: No whole-file run exists of what is IPython's.
MAGICS = {"ipython_magic", "ipython_bang", "ipython_cell_magic"}
TRICKY = [(name, code) for name, code in [*CASES, *PROGRAMS] if name not in MAGICS]
#: The value that ends a program, where it is one of the names all written programs have.
_VALUE = re.compile(r"^\(?(a|xs|s|d)\)?[ \t]*(?:#.*)?\n*(?:#.*\n*)?\Z", re.MULTILINE)

randoms = st.randoms(use_true_random=False)
pytestmark = pytest.mark.timeout(0 if FULL else 300)


def examples(few: int, many: int) -> settings:
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    phases = (Phase.reuse, Phase.generate)  # shrinking would take longer than a test may
    return settings(max_examples=many if FULL else few, deadline=None, phases=phases, suppress_health_check=checks)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    require_backend("local")
    with Sandbox(PYTHON) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def rich_sandbox() -> Iterator[Sandbox]:
    require_backend("local")
    with Sandbox(SANDBOX_ENV, preload="pandas,matplotlib.pyplot", isolated=False) as sandbox:
        yield sandbox


def whole_run(code: str, python: Path = PYTHON, files: Iterable[Path] = ()) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return run_whole(str(python.absolute()), code, Path(folder, "whole"), files)


def assert_same(found: Eager, whole: Outcome) -> None:
    assert found.problem is None
    assert _lines(found.stderr) == _as_far_as_written(_lines(whole.stderr), _lines(found.stderr))
    assert same_paths(found.stdout) == same_paths(whole.stdout)
    assert found.exit_code == max(whole.exit_code, -whole.exit_code // 2)  # KeyboardInterrupt: killed by SIGINT
    assert found.namespace == whole.namespace


def _lines(text: str) -> list[str]:
    return same_paths(text).splitlines()


def _as_far_as_written(whole: list[str], found: list[str]) -> list[str]:
    """The one thing a traceback cannot know: how the line goes on after the semicolon of a statement that failed."""
    if len(whole) != len(found):
        return whole
    return [b if b.endswith(";") and a.startswith(b) else a for a, b in zip(whole, found, strict=True)]


@examples(40, 5_000)
@given(random=randoms)
def test_a_written_program(random: Random, sandbox: Sandbox) -> None:
    code = program(random)
    note(code)
    whole = whole_run(code)
    sandbox.reset()
    found = sandbox.run(code, random)
    assert_same(found, whole)
    value = _VALUE.search(code)
    if value and not whole.exit_code and not found.exited:
        assert found.shown == whole.namespace[value[1]]


@examples(12, 1_000)
@given(random=randoms)
def test_a_program_with_a_syntax_error_behind_statements_that_are_whole(random: Random, sandbox: Sandbox) -> None:
    """What cannot be equal: the whole file does not run at all. What ran is what stands before the error."""
    code, mistake = broken(random)
    note(code + mistake)
    whole = whole_run(code)
    sandbox.reset()
    found = sandbox.run(code + mistake, random)
    if whole.exit_code or found.exited:
        return  # the model never hears of the error
    assert found.problem is not None or (found.failure is not None and found.failure.phase == "compile")
    assert same_paths(found.stdout).startswith(same_paths(whole.stdout))
    assert found.namespace.items() >= whole.namespace.items()


@examples(12, 1_000)
@given(random=randoms)
def test_a_block_that_is_rolled_back_has_never_run(random: Random, sandbox: Sandbox) -> None:
    before, after = program(random), program(random)
    note(f"{before}\n# Then:\n{after}")
    sandbox.reset()
    state = sandbox.run(before, random).namespace
    refusal = sandbox.checkpoint()
    if refusal is not None:
        assert re.search("await|async for|async with", before), refusal  # at its top level: an event loop is open
        return
    first = sandbox.run(after, random)
    assert sandbox.rollback() is None
    assert sandbox.namespace() == state
    again = sandbox.run(after, random)
    assert same_paths(again.stdout) == same_paths(first.stdout)
    assert again.namespace == first.namespace
    assert (again.exit_code, same_paths(again.shown or "")) == (first.exit_code, same_paths(first.shown or ""))


@pytest.mark.parametrize(("name", "code"), TRICKY, ids=[name for name, _ in TRICKY])
def test_a_tricky_program(name: str, code: str, sandbox: Sandbox) -> None:
    whole = whole_run(code)
    for seed in range(20 if FULL else 1):
        sandbox.reset()
        found = sandbox.run(code, Random(f"{name} {seed}"))
        if found.problem or (found.failure and found.failure.phase == "compile"):
            assert re.search(r"^\w*Error:", whole.stderr, re.MULTILINE)
            assert found.stdout in ("", "before\n")
        else:
            assert_same(found, whole)


@pytest.mark.parametrize("entry", MANIFEST if FULL else MANIFEST[::9], ids=lambda entry: entry["id"])
def test_a_program_of_the_corpus(entry: dict[str, Any], rich_sandbox: Sandbox) -> None:
    code = (CORPUS / entry["program"]).read_text()
    files = [CORPUS / "data" / name for name in entry["data"]]
    whole = whole_run(code, SANDBOX_ENV, files)
    rich_sandbox.reset()
    for file in files:
        rich_sandbox.put(file)
    found = rich_sandbox.run(code, Random(entry["id"]))
    if entry["kind"] == "syntax_error":
        assert found.problem or (found.failure and found.failure.phase == "compile")
        assert re.search(r"^\w*Error:", whole.stderr, re.MULTILINE)
    else:
        assert_same(found, whole)
