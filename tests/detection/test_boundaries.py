import ast

import pytest

from app.detection.python import PythonDetector
from tests.detection.boundaries import CASES, Case
from tests.detection.oracle import expected
from tests.tricky import programs


def detector() -> PythonDetector:
    return PythonDetector((3, 12), check_lines=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_chunks_and_the_character_at_which_each_is_emitted(case: Case) -> None:
    one_by_one = detector()
    emitted = [(chunk.source, end) for end, c in enumerate(case.code, 1) for chunk in one_by_one.feed(c)]
    emitted += [(chunk.source, len(case.code)) for chunk in one_by_one.flush() if chunk.kind != "trivia"]
    assert tuple(emitted) == case.chunks
    problem = one_by_one.problem
    assert (problem and (problem.message, problem.offset)) == case.problem


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_split_in_two_gives_the_same_chunks(case: Case) -> None:
    whole = detector()
    chunks = whole.feed(case.code) + whole.flush()
    for at in range(len(case.code)):
        split = detector()
        assert split.feed(case.code[:at]) + split.feed(case.code[at:]) + split.flush() == chunks
        assert (split.problem, split.remainder) == (whole.problem, whole.remainder)


@pytest.mark.parametrize(("name", "code"), programs.CASES, ids=[name for name, _ in programs.CASES])
def test_the_chunks_of_tricky_programs_are_their_statements(name: str, code: str) -> None:
    one_by_one = PythonDetector((3, 12), check_lines=False)
    boundaries = []
    text = ""
    for end, c in enumerate(code, 1):
        for chunk in one_by_one.feed(c):
            boundaries.append((chunk.end, end))
            text += chunk.source
    for chunk in one_by_one.flush():
        text += chunk.source
        if chunk.kind != "trivia":
            boundaries.append((chunk.end, len(code)))
    assert text + one_by_one.remainder == code
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return
    assert one_by_one.problem is None
    assert boundaries == expected(code, tree)
