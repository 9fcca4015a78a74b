import sys

import pytest

from app.detection.chunk import SyntaxProblem
from app.detection.confirm import Confirmer
from app.detection.python import PythonDetector
from tests.detection.differential import VERSION, Run, check_alarm, texts
from tests.detection.mistakes import MISTAKES

pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")

# The code, how much of it is enough to know, what CPython says, and of which line.
CERTAIN = [
    ("x = = 1\ny", 8, "invalid syntax", 1),
    ("x = = 1; y", 8, "invalid syntax", 1),
    ("x = = 1  # why\n", 10, "invalid syntax", 1),
    ("def f():\n    x = = 1\n    return x\n", 21, "invalid syntax", 2),
    ("for i in range(3) print(i)\n", 27, "invalid syntax", 1),
    ("if x:\n  y\nelif:\n  z\n", 16, "invalid syntax", 3),
    ("class A:\n  def f(self):\n    a\n   b\n", 34, "unindent does not match any outer indentation level", 4),
    ("def f():\n  try:\n    a\n  b\n", 25, "expected 'except' or 'finally' block", 4),
    ("def f():\n  try:\n    a\n  finallyx", 32, "expected 'except' or 'finally' block", 4),
    ("if a:\n  if b:\n  c\n", 17, "expected an indented block after 'if' statement on line 2", 3),
    ("while 1:\n  else:\n", 16, "invalid syntax", 2),
    ("if a:\n    b\n\tc\n", 14, "inconsistent use of tabs and spaces in indentation", 3),
    ("x = [\n 1,\n 2 3,\n]\ny\n", 16, "'[' was never closed", 1),
    ("x = (1 +\ny = 2\nprint(x)\n", 15, "'(' was never closed", 1),
    ("if a:\n  b(1,\n    2\n\nc = 3\nd = 4\n", 26, "'(' was never closed", 2),
    ("match x:\n  case 1: a\n  y\n", 25, "invalid syntax", 3),
    ("match x:\n  case 1: a\n  y = 2\n", 29, "invalid syntax", 3),
    ("def f():\n  @d\n  x = 1\n", 18, "invalid syntax", 3),
    ("def f():\n  @d\nx\n", 15, "unexpected unindent", 3),
    ("@d\nasync for x in y: z\n", 23, "invalid syntax", 2),
    ("async def f():\n  async x\n", 25, "invalid syntax", 2),
    ("x; if a: b\n", 6, "invalid syntax", 1),
    ("x; match a:\n", 12, "invalid syntax", 1),
    (";x\n", 1, "invalid syntax", 1),
    ("Here is the code:\n", 18, "invalid syntax", 1),
    ("(" * 201, 201, "too many nested parentheses", 1),
    ("x = 1\n\ny = (\n1}\n", 15, "closing parenthesis '}' does not match opening parenthesis '(' on line 3", 4),
]


@pytest.mark.parametrize(("code", "offset", "message", "line"), CERTAIN, ids=[case[0][:30] for case in CERTAIN])
def test_a_syntax_error_is_known_as_soon_as_its_line_is_over(code: str, offset: int, message: str, line: int) -> None:
    problem = Run(code, [1] * len(code)).problem
    assert problem is not None
    assert (problem.offset, problem.line) == (offset, line)
    if VERSION == (3, 11):  # other versions have other words for some
        assert problem.message == message


def known_after(code: str) -> int | None:
    """How many characters of the code are read when it is known that there is an error, as the gateway would know."""
    detector, confirmer = PythonDetector(VERSION), Confirmer(VERSION)
    for read, c in enumerate(code, 1):
        answers = [confirmer.confirm(chunk) for chunk in detector.feed(c)]
        if detector.problem or any(isinstance(answer, SyntaxProblem) for answer in answers):
            return read
    return None


@pytest.mark.parametrize(("name", "code"), MISTAKES, ids=[name for name, _ in MISTAKES])
def test_a_usual_mistake_is_known_as_soon_as_it_is_certain(name: str, code: str) -> None:
    at = code.index("¦")
    assert known_after(code.replace("¦", "")) == at


def test_an_error_of_the_parser_is_looked_for_only_in_the_grammar_of_this_interpreter() -> None:
    major, minor = sys.version_info[:2]
    for detector in (PythonDetector((major, minor + 1)), PythonDetector((major, minor), check_lines=False)):
        chunks = detector.feed("x = = 1\n")
        assert [chunk.source for chunk in chunks] == ["x = = 1\n"]
        assert detector.problem is None


def test_a_line_that_would_hold_the_event_loop_is_left_to_the_sandbox() -> None:
    detector = PythonDetector(VERSION)
    assert len(detector.feed("x = [" + "1, " * 1_000 + "= ]\n")) == 1


def test_a_warning_of_the_compiler_is_no_error_and_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    # Warnings are errors in these tests, except for what the detector compiles.
    detector = PythonDetector(VERSION)
    assert len(detector.feed("x = '\\d'\nassert (x, 'always')\n1 is 1\n")) == 3
    assert detector.problem is None
    assert capfd.readouterr().err == ""


def test_nothing_can_make_valid_what_was_called_hopeless() -> None:
    problems = 0
    for kind, count in (("generated", 800), ("damaged", 150)):
        for name, text, random in texts(kind, 11, count):
            problem = Run(text, [len(text)]).problem
            problems += problem is not None
            assert problem is None or check_alarm(text, problem, random) is None, name
    assert problems > 300
