from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox_image.bare_stack import Runner, drive
from tests.sandbox_image.zygote import ROOT


def code_of(source: str, mode: str = "exec") -> Any:
    return compile(source, "chunk.py", mode)


@pytest.fixture(autouse=True)
def _hooks() -> Iterator[None]:
    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook


def run(runner: Runner, source: str, mode: str = "exec", namespace: dict[str, Any] | None = None) -> None:
    code = code_of(source, mode)

    def steps() -> Iterator[object]:
        yield runner.prepare(eval, code, {} if namespace is None else namespace, code=code)

    drive(steps())
    runner.finish()


def test_values_and_exceptions_come_out() -> None:
    runner = Runner()
    run(runner, "6 * 7", "eval")
    assert (runner.value, runner.error) == (42, None)
    for source, kind in [("1 / 0", ZeroDivisionError), ("next(iter([]))", StopIteration), ("exit(3)", SystemExit)]:
        run(runner, source, "eval")
        assert runner.value is None
        assert type(runner.error) is kind
    run(runner, "None", "eval")
    assert (runner.value, runner.error) == (None, None)


def test_the_generator_is_not_on_the_stack_of_the_code() -> None:
    namespace: dict[str, Any] = {}
    run(Runner(), "import sys\nbelow = sys._getframe(1).f_code.co_name", namespace=namespace)
    assert namespace["below"] == "drive"


def test_the_traceback_begins_with_the_code() -> None:
    runner = Runner()
    run(runner, "def f(): 1 / 0\nf()")
    assert runner.error is not None
    assert runner.error.__traceback__ is not None
    assert runner.error.__traceback__.tb_frame.f_code.co_filename == "chunk.py"


def test_other_unraisable_exceptions_go_to_the_hook_that_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(unraisable.exc_value))
    runner = Runner()
    run(runner, "class A:\n    def __del__(self): raise ValueError(1)\nA()\n1 / 0")
    assert [str(error) for error in seen] == ["1"]
    assert type(runner.error) is ZeroDivisionError


def test_a_hook_that_code_replaces_costs_the_exception_but_not_the_failure() -> None:
    runner = Runner()
    run(runner, "import sys\nsys.unraisablehook = lambda unraisable: None\n1 / 0")
    assert isinstance(runner.error, RuntimeError)
    assert runner.lost
    run(runner, "1 / 0")
    assert isinstance(runner.error, ZeroDivisionError)


def test_a_cancelled_call_is_not_made() -> None:
    runner = Runner()
    namespace: dict[str, Any] = {}
    code = code_of("x = 1")
    calls = runner.prepare(eval, code, namespace, code=code)
    runner.cancel(calls)
    del calls
    assert namespace == {}


def test_a_trace_function_set_by_the_code_sees_nothing_of_ours() -> None:
    namespace: dict[str, Any] = {}
    runner = Runner()
    code = code_of(
        "import sys\nseen = []\ndef trace(frame, *event): seen.append(frame.f_code.co_name)\nsys.settrace(trace)"
    )

    def steps() -> Iterator[object]:
        yield runner.prepare(eval, code, namespace, code=code)

    before = sys.gettrace()
    drive(steps())
    after = sys.gettrace()
    assert runner.finish() is namespace["trace"]
    sys.settrace(before)
    assert after is None
    assert namespace["seen"] == []


def test_run_plainly_keeps_value_error_and_trace_function() -> None:
    runner = Runner()
    runner.run_plainly(eval, "1 + 1", {})
    runner.finish()
    assert runner.value == 2
    runner.run_plainly(eval, "1 / 0", {})
    runner.finish()
    assert isinstance(runner.error, ZeroDivisionError)


_DESCENDING = """
import subprocess
import sys
sys.path.insert(0, {root!r})
from sandbox_image.bare_stack import Runner, descend

def steps():
    runner = Runner()
    for source in ("import sys; print(sys._getframe().f_back)", "1 / 0", "print(sys.excepthook is sys.__excepthook__)"):
        code = compile(source, "chunk.py", "exec")
        yield runner.prepare(eval, code, globals(), code=code)
        runner.finish()
        print(runner.error, flush=True)

def main():
    try:
        descend(steps())
    finally:
        print("left")

main()
"""


def test_a_process_that_descends_has_an_empty_stack_and_ends_with_its_steps() -> None:
    code = _DESCENDING.format(root=str(ROOT))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "left\nNone\nNone\ndivision by zero\nTrue\nNone\n"
    assert done.stderr == ""
