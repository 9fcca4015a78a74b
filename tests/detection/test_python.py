import pytest

from app.detection import create_detector
from app.detection.bash import BashDetector
from app.detection.chunk import Chunk, SyntaxProblem
from app.detection.prompts import PromptedDetector
from app.detection.python import PythonDetector


def detect(
    code: str, version: tuple[int, int] = (3, 12), *, ipython: bool = True
) -> tuple[list[Chunk], SyntaxProblem | None]:
    """Whole, after checking that single characters give the same."""
    whole, one_by_one = PythonDetector(version, ipython), PythonDetector(version, ipython)
    chunks = whole.feed(code) + whole.flush()
    assert [chunk for c in code for chunk in one_by_one.feed(c)] + one_by_one.flush() == chunks
    assert (one_by_one.problem, one_by_one.remainder) == (whole.problem, whole.remainder)
    assert "".join(chunk.source for chunk in chunks) + whole.remainder == code
    return chunks, whole.problem


def sources(code: str, version: tuple[int, int] = (3, 12), *, ipython: bool = True) -> list[str]:
    chunks, problem = detect(code, version, ipython=ipython)
    assert problem is None
    return [chunk.source for chunk in chunks]


def kinds(code: str) -> list[str]:
    return [chunk.kind for chunk in detect(code)[0]]


def test_positions_count_characters_lines_and_bytes() -> None:
    chunks, _ = detect("é = 1; y = 2  # ü\r\n\nz = 3\rw\n")
    assert [(c.index, c.source, c.start, c.end, c.line, c.column) for c in chunks] == [
        (0, "é = 1;", 0, 6, 1, 0),
        (1, " y = 2  ", 6, 14, 1, 7),
        (2, "# ü\r\n\nz = 3\r", 14, 26, 1, 15),
        (3, "w\n", 26, 28, 4, 0),
    ]


def test_kinds_are_clause_words() -> None:
    code = "x\nif a: b\nasync def f(): c\nasync for i in j: k\n@d\nclass A: l\nmatch m:\n  case _: n\nwith o: p\n# q\n"
    assert kinds(code) == ["simple", "if", "def", "for", "class", "match", "with", "trivia"]


def test_a_tail_of_comments_is_a_chunk_so_that_the_text_is_whole() -> None:
    chunks, _ = detect("x = 1\n\n# the end\n")
    assert [(chunk.source, chunk.kind) for chunk in chunks] == [("x = 1\n", "simple"), ("\n# the end\n", "trivia")]
    assert detect("") == ([], None)
    assert kinds(" \n") == ["trivia"]


def test_nothing_is_emitted_after_a_problem_and_the_text_is_kept() -> None:
    detector = PythonDetector((3, 12))
    assert [chunk.source for chunk in detector.feed("x = 1\ny = )\nz = 2\n")] == ["x = 1\n"]
    problem = detector.problem
    assert problem == SyntaxProblem("unmatched ')'", 2, 11)
    assert detector.feed("w = 3\r") == []
    assert detector.flush() == []
    assert detector.problem is problem
    assert detector.remainder == "y = )\nz = 2\nw = 3\r"


def test_repr_shows_the_state() -> None:
    detector = PythonDetector((3, 12))
    detector.feed("x\ny = (")
    assert repr(detector) == "PythonDetector(chunks=1, remainder='y = (', problem=None)"


@pytest.mark.parametrize(
    ("code", "message", "line", "kind"),
    [
        ("x = [1,\n 2\n", "'[' was never closed", 1, "SyntaxError"),
        ("x\ny = '''a\nb\n", "unterminated triple-quoted string literal (detected at line 3)", 2, "SyntaxError"),
        ("x = 'a", "unterminated string literal (detected at line 1)", 1, "SyntaxError"),
        ("x = '", "unterminated string literal (detected at line 1)", 1, "SyntaxError"),
        ("x = f'a", "unterminated f-string literal (detected at line 1)", 1, "SyntaxError"),
        ("x = f'''a{b}\n", "unterminated triple-quoted f-string literal (detected at line 1)", 1, "SyntaxError"),
        ("x = f'{a", "f-string: expecting '}'", 1, "SyntaxError"),
        ("x = f'{a:>5", "unterminated f-string literal (detected at line 1)", 1, "SyntaxError"),
        ("x = 1 + \\", "unexpected EOF while parsing", 1, "SyntaxError"),
        ("x = 1 \\\n", "unexpected EOF while parsing", 1, "SyntaxError"),
        ("class A:\n", "expected an indented block after class definition on line 1", 1, "IndentationError"),
        (
            "def f():\n  if a:\n    # b\n",
            "expected an indented block after 'if' statement on line 2",
            3,
            "IndentationError",
        ),
        ("try:\n  a\n", "expected 'except' or 'finally' block", 2, "SyntaxError"),
        ("if x:\n  try:\n    a\n", "expected 'except' or 'finally' block", 3, "SyntaxError"),
        ("@d\n", "unexpected unindent", 1, "IndentationError"),
    ],
)
def test_code_that_ends_too_early(code: str, message: str, line: int, kind: str) -> None:
    chunks, problem = detect(code)
    assert problem == SyntaxProblem(message, line, len(code), kind)
    assert all(chunk.kind == "simple" for chunk in chunks)


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13), (3, 14)])
def test_fstrings_are_those_of_the_version(version: tuple[int, int]) -> None:
    nested = 'x = f"{d["a # b"]}"\ny\n'
    if version >= (3, 12):
        assert sources(nested, version) == ['x = f"{d["a # b"]}"\n', "y\n"]
    else:
        assert sources('x = f"{d}" # c\ny\n', version) == ['x = f"{d}" ', "# c\ny\n"]
    template = "x = t'{d['a']}'\n"
    if version >= (3, 14):
        assert sources(template, version) == [template]


@pytest.mark.parametrize(
    "literal",
    [
        *("f''", "f'{{}}'", r"f'\{a}'", r"f'\N{DASH}{a}'", r"f'\N'", r"rf'\N{a}'", "f'\\\n{a}'", r"f'{a:{b}:\x41}'"),
        *(
            "f'{a:\n}'",
            "f'''{a:\n}\n\r\n'' '''",
            "f'{a!r:>{b}}}}'",
            "f'{f\"{'x'}\"}'",
            "f'{a[b:{1: 2}]}'",
            r"Rf'\'{a}'",
        ),
    ],
)
def test_literals_with_fields(literal: str) -> None:
    assert sources(f"x = {literal}  # c\ny\n") == [f"x = {literal}  ", "# c\ny\n"]


@pytest.mark.parametrize(
    ("code", "message", "offset"),
    [
        ("f'a}'\n", "f-string: single '}' is not allowed", 5),
        ("f'{a:b'\n", "f-string: expecting '}'", 7),
        ("f'{a)}'\n", "closing parenthesis ')' does not match opening parenthesis '{'", 5),
        ("f'a\n", "unterminated f-string literal (detected at line 1)", 4),
        ("f'{'a\n", "unterminated string literal (detected at line 1)", 6),
        ("f'a\0'", "source code cannot contain null bytes", 4),
        ("'a\0'", "source code cannot contain null bytes", 3),
        ("# a\0", "source code cannot contain null bytes", 4),
        ("f'{" + "(" * 200, "too many nested parentheses", 203),
        ("try: a\n%b\n", "expected 'except' or 'finally' block", 8),
        ("if a:\n        if b:\n\tc\n", "inconsistent use of tabs and spaces in indentation", 22),
        ("if a:\n  if b:\n\tc\n", "inconsistent use of tabs and spaces in indentation", 16),
    ],
)
def test_text_that_is_hopeless_at_a_character(code: str, message: str, offset: int) -> None:
    problem = detect(code)[1]
    assert problem is not None
    assert (problem.message, problem.offset) == (message, offset)


def test_nesting_as_deep_as_cpython_allows() -> None:
    deep = "x = f'{" + "(" * 199 + ")" * 199 + "}'\n"
    assert sources(deep) == [deep]


def test_a_byte_order_mark_hides_no_prefix() -> None:
    assert sources('\ufefff"{a["b"]}"\nx\n') == ['\ufefff"{a["b"]}"\n', "x\n"]


@pytest.mark.parametrize(
    ("code", "chunks"),
    [
        ("%matplotlib inline\nx = 1\n", [("%matplotlib inline\n", "magic"), ("x = 1\n", "simple")]),
        ("!ls 'it\nx\n", [("!ls 'it\n", "magic"), ("x\n", "simple")]),
        ("!ls \\\n  -l\nx\n", [("!ls \\\n  -l\n", "magic"), ("x\n", "simple")]),
        ("x = !ls (\ny\n", [("x = !ls (\n", "magic"), ("y\n", "simple")]),
        ("x = %time f(\ny\n", [("x = %time f(\n", "magic"), ("y\n", "simple")]),
        ("x?\ny\n", [("x?\n", "magic"), ("y\n", "simple")]),
        ("?x\ny", [("?x\n", "magic"), ("y", "simple")]),
        ("x = a % b\ny = a != b\n", [("x = a % b\n", "simple"), ("y = a != b\n", "simple")]),
        ("x;%y\n", [("x;", "simple"), ("%y\n", "simple")]),
        ("x %= b; y = f'{x!r}'\n", [("x %= b;", "simple"), (" y = f'{x!r}'\n", "simple")]),
        ("if a:\n  b\n%time c\n", [("if a:\n  b\n", "if"), ("%time c\n", "magic")]),
        ("for a in b:\n  !ls '\nx\n", [("for a in b:\n  !ls '\n", "magic"), ("x\n", "simple")]),
        ("\n%%bash\nif x\n  fi\n", [("\n%%bash\nif x\n  fi\n", "magic")]),
        ("x\n%%time\ny\n", [("x\n", "simple"), ("%%time\n", "magic"), ("y\n", "simple")]),
        ("# c\n%%time\ny\n", [("# c\n%%time\n", "magic"), ("y\n", "simple")]),
    ],
)
def test_magics_are_chunks_of_their_own(code: str, chunks: list[tuple[str, str]]) -> None:
    assert [(chunk.source, chunk.kind) for chunk in detect(code)[0]] == chunks


def test_a_magic_may_be_split_anywhere_from_its_assignment() -> None:
    detector = PythonDetector((3, 12))
    chunks = [chunk for piece in ("x =", "   ", " ", "!ls", " (\n") for chunk in detector.feed(piece)]
    assert [(chunk.source, chunk.kind) for chunk in chunks] == [("x =    !ls (\n", "magic")]


def test_without_ipython_a_magic_is_ordinary_text() -> None:
    assert sources("%x; y\n", ipython=False) == ["%x;", " y\n"]
    assert detect("%x\x00\n")[1] == SyntaxProblem("source code cannot contain null bytes", 1, 3)


def test_a_detector_for_each_language() -> None:
    assert isinstance(create_detector("python", (3, 13)), PromptedDetector)
    assert isinstance(create_detector("bash", (3, 13)), BashDetector)
    with pytest.raises(ValueError, match="cobol"):
        create_detector("cobol", (3, 13))


def test_a_literal_in_thousands_of_fragments_is_kept_whole() -> None:
    literal = "".join(f"{number}\n" for number in range(1_000))
    code = f'x = """{literal}"""\ny = ("""{literal}""",\nz)\n'
    detector = PythonDetector((3, 12))
    chunks = []
    for read, c in enumerate(code, 1):
        chunks += detector.feed(c)
        if read in (1_999, 2_000, 5_500):
            assert "".join(chunk.source for chunk in chunks) + detector.remainder == code[:read]
    assert "".join(chunk.source for chunk in chunks) == code
