"""The detector against CPython's own parser, on any CPython >= 3.11, without any package.

    python -m tests.detection.differential {generated,files,damaged} SEED COUNT [FOLDER ...]

prints one JSON object: how many texts were compared, how many of them were valid, and the differences.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random

from app.detection.chunk import Chunk, SyntaxProblem
from app.detection.compiling import Refusal, parse
from app.detection.confirm import Confirmer
from app.detection.python import PythonDetector
from tests.detection import generate
from tests.detection.oracle import expected

VERSION = sys.version_info[:2]
_TRIVIA = re.compile(r"(?:[ \t\f]|\\\r\n|\\\r|\\\n|\r\n|\r|\n|#[^\r\n]*)*")


class Run:
    """What one detector made of a text, and how many characters it had read when it emitted each chunk."""

    def __init__(self, text: str, sizes: Iterable[int], *, ipython: bool = False, check_lines: bool = True) -> None:
        detector = PythonDetector(VERSION, ipython, check_lines=check_lines)
        self.chunks: list[Chunk] = []
        self.emitted: list[int] = []
        start = 0
        for size in sizes:
            end = min(start + size, len(text))
            self._add(detector.feed(text[start:end]), end)
            start = end
        self._add(detector.feed(text[start:]), len(text))
        self._add(detector.flush(), len(text))
        self.problem = detector.problem
        self.remainder = detector.remainder

    def _add(self, chunks: Sequence[Chunk], read: int) -> None:
        self.chunks += chunks
        self.emitted += [read] * len(chunks)

    @property
    def outcome(self) -> tuple[list[Chunk], SyntaxProblem | None, str]:
        return self.chunks, self.problem, self.remainder

    @property
    def boundaries(self) -> list[tuple[int, int]]:
        return [
            (chunk.end, read) for chunk, read in zip(self.chunks, self.emitted, strict=True) if chunk.kind != "trivia"
        ]


def tree_of(text: str) -> ast.Module | None:
    try:
        return ast.parse(text.removeprefix("\ufeff"))
    except (SyntaxError, ValueError):
        return None


def compiles(text: str) -> bool:
    try:
        compile(text.removeprefix("\ufeff"), "<text>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def random_sizes(text: str, random: Random) -> list[int]:
    longest = random.choice((3, 8, 50))
    return [random.randint(1, longest) for _ in text]


def difference(text: str, random: Random) -> str | None:
    """How the detector differs from CPython on this text, or from itself on another split of it."""
    one_by_one = Run(text, [1] * len(text))
    if "".join(chunk.source for chunk in one_by_one.chunks) + one_by_one.remainder != text:
        return "chunks and remainder are not the text"
    for sizes in ([len(text)], random_sizes(text, random)):
        if Run(text, sizes).outcome != one_by_one.outcome:
            return f"another outcome in fragments of {sizes[:20]}"
    tree = tree_of(text)
    if tree is None:
        return _check_invalid(text, one_by_one)
    if one_by_one.problem:
        return f"false alarm: {one_by_one.problem}"
    if Run(text, [len(text)], ipython=True).outcome != one_by_one.outcome:
        return "another outcome in IPython mode"
    boundaries = expected(text, tree)
    if one_by_one.boundaries != boundaries:
        pairs = zip(one_by_one.boundaries, boundaries, strict=False)
        first = next((pair for pair in pairs if pair[0] != pair[1]), None)
        return f"end and emission {first}; {len(one_by_one.chunks)} chunks, {len(boundaries)} expected"
    return _check_confirmation(text, tree, one_by_one.chunks)


def _check_invalid(text: str, run: Run) -> str | None:
    if run.problem:
        if run.problem.offset > len(text):
            return f"beyond the text: {run.problem}"
        return None
    # Longer lines than the detector looks at are left to the parser of the whole chunk.
    refused = any(isinstance(parse(_alone(chunk)), Refusal) for chunk in run.chunks)
    return None if refused else f"false accept: {[chunk.source for chunk in run.chunks][-3:]}"


def _alone(chunk: Chunk) -> str:
    match = _TRIVIA.match(chunk.source.removeprefix("\ufeff"))
    assert match is not None
    return chunk.source.removeprefix("\ufeff")[match.end() :] + "\n"


def _check_confirmation(text: str, tree: ast.Module, chunks: list[Chunk]) -> str | None:
    confirmer = Confirmer(VERSION)
    problems = []
    statements = iter(tree.body)
    for chunk in chunks:
        answer = confirmer.confirm(chunk)
        statement = next(statements) if chunk.kind != "trivia" else None
        if isinstance(answer, SyntaxProblem):
            problems.append(answer)
        elif answer and statement and [ast.dump(node) for node in answer.body] != [ast.dump(statement)]:
            return f"another tree of {chunk}"
    if problems and compiles(text):
        return f"false alarm: {problems[0]}"
    return None


def _excerpt(text: str, random: Random) -> str:
    lines = text.splitlines(True)
    start = random.choice((0, random.randrange(len(lines) or 1)))
    return "".join(lines[start : start + 100])[:4_000]


def texts(kind: str, seed: int, count: int, folders: Sequence[str] = ()) -> Iterator[tuple[str, str, Random]]:
    """(name, text, random numbers to go on with); ``count`` 0 is every file."""
    if kind == "generated":
        for number in range(count):
            random = Random(f"{seed}/{number}")
            yield f"generated {seed}/{number}", generate.program(random), random
        return
    paths = sorted(path for folder in folders or [sysconfig.get_path("stdlib")] for path in Path(folder).rglob("*.py"))
    if count:
        paths = Random(seed).sample(paths, min(count, len(paths)))
    for path in paths:
        random = Random(f"{seed}/{path.name}")
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        if kind == "damaged":
            text = generate.damaged(_excerpt(text, random), random)
        yield f"{path} {seed}", text, random


def run(kind: str, seed: int, count: int, folders: Sequence[str] = ()) -> dict[str, object]:
    compared = valid = 0
    differences = []
    for name, text, random in texts(kind, seed, count, folders):
        compared += 1
        try:
            valid += tree_of(text) is not None
            found = difference(text, random)
        except (RecursionError, MemoryError):  # nested too deeply for this interpreter
            continue
        if found:
            differences.append(f"{name}: {found}" + (f" in {text!r}" if len(text) < 400 else ""))
    return {"compared": compared, "valid": valid, "differences": differences}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(20_000)
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])))
