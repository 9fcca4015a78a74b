import ast
import sys

import pytest

from app.detection import create_detector
from app.detection.chunk import Chunk, SyntaxProblem
from app.detection.confirm import Confirmer, is_large
from app.detection.python import PythonDetector

VERSION = sys.version_info[:2]


def confirm(code: str, version: tuple[int, int] = VERSION) -> list[ast.Module | SyntaxProblem | None]:
    detector = PythonDetector(VERSION)
    confirmer = Confirmer(version)
    return [confirmer.confirm(chunk) for chunk in detector.feed(code) + detector.flush()]


def problems(code: str) -> list[tuple[str, int]]:
    return [(answer.message, answer.line) for answer in confirm(code) if isinstance(answer, SyntaxProblem)]


def test_the_tree_holds_the_statement_of_the_chunk() -> None:
    code = "\ufeffx = 1;  y = 2 # c\n\nif z:\n  w\nv \\\n # d\n"
    trees = [answer for answer in confirm(code) if isinstance(answer, ast.Module)]
    assert [ast.unparse(tree) for tree in trees] == ["x = 1", "y = 2", "if z:\n    w", "v"]


def test_what_parses_but_never_compiles_is_a_problem() -> None:
    assert problems("x\n\ndef f():\n    y\n    break\n") == [("'break' outside loop", 5)]
    assert problems("x = 1; return x\n") == [("'return' outside function", 1)]


def test_what_the_compiler_only_warns_of_is_no_problem_and_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    # Warnings are errors in these tests.
    assert problems("x = 1\nif x is 1:\n    y = '\\d'\nassert (x, 'always')\n") == []
    assert capfd.readouterr().err == ""


def test_top_level_await_is_allowed() -> None:
    assert problems("await f()\nasync for x in y: z\nasync with a: b\n[c async for c in d]\n") == []


def test_future_imports_must_come_first_and_hold_for_later_chunks() -> None:
    late = "from __future__ imports must occur at the beginning of the file"
    assert problems('"doc"; from __future__ import division; from __future__ import annotations\nx = 1\n') == []
    assert problems("x = 1\nfrom __future__ import annotations\n") == [(late, 2)]
    assert problems('"doc"\n"more"\nfrom __future__ import annotations\n') == [(late, 3)]
    assert problems("from __future__ import brakes\n") == [("future feature brakes is not defined", 1)]
    walrus = "def f(a: (b := 1)): pass\n"
    assert problems(walrus) == []
    assert len(problems(f"from __future__ import annotations\n\n{walrus}")) == 1


@pytest.mark.parametrize("code", ["%time x\n", "# nothing\n"])
def test_magics_and_trivia_are_not_parsed(code: str) -> None:
    assert confirm(code) == [None]


def test_another_grammar_is_left_to_the_sandbox() -> None:
    assert confirm("return\n", (VERSION[0], VERSION[1] + 1)) == [None]


def test_large_chunks_are_left_to_the_sandbox() -> None:
    docstring = '"""' + "text\n" * 2_000 + '"""\n'
    answers = confirm(docstring + "from __future__ import annotations\ndef f():\n" + "  x = 1\n" * 2_000)
    assert [type(answer) for answer in answers] == [type(None), ast.Module, type(None)]
    large = Chunk(0, docstring, 0, len(docstring), 1, 0, "simple")
    assert is_large(large)


def test_nesting_too_deep_for_the_parser_is_no_verdict() -> None:
    chunk = Chunk(0, "x = " + "-" * 2_400 + "1", 0, 2_405, 1, 0, "simple")
    assert not isinstance(Confirmer(VERSION).confirm(chunk), SyntaxProblem)


def test_what_cannot_be_encoded_is_a_problem() -> None:
    answer = Confirmer(VERSION).confirm(Chunk(0, "x = '\ud800'\n", 0, 9, 4, 0, "simple"))
    assert isinstance(answer, SyntaxProblem)
    assert (answer.kind, answer.line) == ("UnicodeEncodeError", 4)


def test_repr_shows_the_state() -> None:
    assert repr(Confirmer((2, 7))) == "Confirmer(same_grammar=False, flags=0x0, head=True)"


@pytest.mark.parametrize("code", ["x \\\r; y\r", "x \\\r# c\r", "x \\\r\n; y\r\n"])
def test_a_continuation_before_the_end_of_a_chunk_is_no_error(code: str) -> None:
    detector = PythonDetector(VERSION)
    chunks = detector.feed(code) + detector.flush()
    assert detector.problem is None
    confirmer = Confirmer(VERSION)
    assert not any(isinstance(confirmer.confirm(chunk), SyntaxProblem) for chunk in chunks)


@pytest.mark.parametrize(
    "code",
    [
        "  x = 1\n  print(x); y = 2\n  def f():\n      return 1\n",
        "\tx = 1\n\tif x:\n\t\ty = 2\n",
        ">>> x = 1\n>>> for i in x:\n...     pass\n...\n>>> y\n",
        "In [1]: x = 1\n\nIn [2]: for i in x:\n   ...:     pass\n",
    ],
)
def test_what_ipython_takes_off_is_no_error(code: str) -> None:
    for size in (1, 5, len(code)):
        detector, confirmer = create_detector("python", VERSION), Confirmer(VERSION)
        pieces = [code[start : start + size] for start in range(0, len(code), size)]
        chunks = [chunk for piece in pieces for chunk in detector.feed(piece)] + detector.flush()
        assert [type(confirmer.confirm(chunk)) for chunk in chunks if chunk.kind != "trivia"].count(ast.Module) >= 2
        assert not any(isinstance(confirmer.confirm(chunk), SyntaxProblem) for chunk in chunks)
        assert "".join(chunk.source for chunk in chunks) == code
