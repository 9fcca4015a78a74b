"""The detector against CPython's own parser, on any CPython >= 3.11, without any package.

    python -m tests.detection.differential KIND SEED COUNT [--shard 0/4] [FOLDER OR LIST ...]

prints one JSON object: how many texts were compared, how many of them were valid, how many could not be compared, and
the differences. A LIST is a file with a path in each line. ``tests.detection.everything`` does all of a machine.
"""

from __future__ import annotations

import argparse
import ast
import itertools
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
from tests.detection.layout import laid_out_anew
from tests.detection.magics import PLACEHOLDER, with_magics
from tests.detection.oracle import expected

VERSION = sys.version_info[:2]
#: Whole files; a piece of each with small mistakes, cut off, or with other white space; programs of odd lines, and of
#: odd lines with IPython's among them.
KINDS = ("files", "damaged", "truncated", "relaid", "generated", "magics")
GENERATED = ("generated", "magics")
_TRIVIA = re.compile(r"(?:[ \t\f]|\\\r\n|\\\r|\\\n|\r\n|\r|\n|#[^\r\n]*)*")
_PLACEHOLDERS = tuple(f"{indent}{PLACEHOLDER}\n" for indent in ("", "", "  ", "    "))
_EXCERPT = 4_000
#: Longer texts are not read one character at a time, only in random fragments and around each point of emission.
_SHORT = 4_000


class Run:
    """What one detector made of a text, and how many characters it had read when it emitted each chunk."""

    def __init__(self, text: str, sizes: Iterable[int], *, ipython: bool = False, check_lines: bool = True) -> None:
        detector = PythonDetector(VERSION, ipython, check_lines=check_lines)
        self.chunks: list[Chunk] = []
        self.emitted: list[int] = []
        feed, start = detector.feed, 0
        for size in sizes:
            if chunks := feed(text[start : start + size]):
                self._add(chunks, start + size)
            start += size
        self._add(feed(text[start:]), len(text))
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
    """Of fragments that are about the text; what they leave is one more."""
    longest = random.choice((3, 8, 50))
    return random.choices(range(1, longest + 1), k=2 * len(text) // (longest + 1))


def difference(text: str, random: Random) -> str | None:
    """How the detector differs from CPython on this text, or from itself on another split of it."""
    whole = Run(text, [len(text)])
    if "".join(chunk.source for chunk in whole.chunks) + whole.remainder != text:
        return "chunks and remainder are not the text"
    for sizes in ([1] * (len(text) if len(text) <= _SHORT else 0), random_sizes(text, random)):
        if sizes and Run(text, sizes).outcome != whole.outcome:
            return f"another outcome in fragments of {sizes[:20]}"
    tree = tree_of(text)
    if tree is None:
        return _check_invalid(text, whole, random)
    if whole.problem:
        return f"false alarm: {whole.problem}"
    boundaries = expected(text, tree)
    found = Run(text, _sizes_around([emitted for _, emitted in boundaries]), ipython=True)
    if found.outcome != whole.outcome:
        return "another outcome in IPython mode"
    if found.boundaries != boundaries:
        pairs = zip(found.boundaries, boundaries, strict=False)
        first = next((pair for pair in pairs if pair[0] != pair[1]), None)
        return f"end and emission {first}; {len(found.boundaries)} chunks, {len(boundaries)} expected"
    return _check_confirmation(text, tree, whole.chunks)


def difference_in_ipython(text: str, random: Random) -> str | None:
    """The same of a program in which lines of IPython take the place of the placeholders."""
    tree = tree_of(text)
    if tree is None:
        return None
    code, boundaries = with_magics(text, tree, expected(text, tree), random)
    if random.random() < 0.1:
        code = random.choice(("", "\n", " \n\n")) + "%%bash -x\n" + code
        boundaries = [(len(code), len(code))]  # a cell magic takes the rest
    whole = Run(code, [len(code)], ipython=True)
    for sizes in ([1] * len(code), random_sizes(code, random)):
        if Run(code, sizes, ipython=True).outcome != whole.outcome:
            return f"another outcome in fragments of {sizes[:20]} of {code!r}"
    found = Run(code, _sizes_around([emitted for _, emitted in boundaries]), ipython=True)
    if whole.problem or found.boundaries != boundaries:
        return f"{whole.problem}, {found.boundaries} and not {boundaries} of {code!r}"
    return None


def _sizes_around(emissions: Sequence[int]) -> list[int]:
    """Of fragments that end before and after the characters that emit: what comes too early or too late shows."""
    ends = sorted({end for emitted in emissions for end in (emitted - 1, emitted)})
    return [end - start for start, end in itertools.pairwise([0, *ends])]


def _check_invalid(text: str, run: Run, random: Random) -> str | None:
    sizes = random_sizes(text, random)
    magic = Run(text, sizes, ipython=True)
    if magic.outcome != Run(text, [len(text)], ipython=True).outcome:
        return f"another outcome in IPython mode in fragments of {sizes[:20]}"
    if "".join(chunk.source for chunk in magic.chunks) + magic.remainder != text:
        return "chunks and remainder are not the text in IPython mode"
    if run.problem:
        return check_alarm(text, run.problem, random)
    # Longer lines than the detector looks at are left to the parser of the whole chunk.
    refused = any(isinstance(parse(_alone(chunk)), Refusal) for chunk in run.chunks)
    return None if refused else f"false accept: {[chunk.source for chunk in run.chunks][-3:]}"


def check_alarm(text: str, problem: SyntaxProblem, random: Random) -> str | None:
    """Was it certain? Nothing that comes to mind continues the text up to there as a valid program."""
    if problem.offset > len(text):
        return f"beyond the text: {problem}"
    prefix = text[: problem.offset]
    if problem.offset == len(text) and Run(prefix + "\n", [1]).problem != problem:
        return None  # it is the end of the code that made it hopeless
    endings = generate.endings(prefix)
    if len(text) > 200:
        endings = random.sample(endings, 6)
    wrong = next((ending for ending in endings if tree_of(prefix + ending)), None)
    return None if wrong is None else f"false alarm: {problem}, but {prefix[-60:] + wrong!r} is valid"


def _alone(chunk: Chunk) -> str:
    match = _TRIVIA.match(chunk.source.removeprefix("\ufeff"))
    assert match is not None
    return chunk.source.removeprefix("\ufeff")[match.end() :] + " \n"


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
    """A hundred lines of it, half the time its first ones."""
    lines = text.splitlines(True)
    start = random.choice((0, random.randrange(len(lines) or 1)))
    return "".join(lines[start : start + 100])[:_EXCERPT]


def _head(text: str) -> str:
    """Its first statements, as many as an excerpt holds and at least one."""
    tree = tree_of(text)
    if tree is None or len(tree.body) < 2:
        return text[: 4 * _EXCERPT]
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)
    last = max((node.end_lineno or 0 for node in tree.body if (node.end_lineno or 0) <= 100), default=len(lines))
    return "".join(lines[:last])


def text_of(path: Path) -> str:
    """A file as it is; in a str any encoding is as good as the one it names."""
    data = path.read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _prepared(kind: str, text: str, random: Random) -> str:
    if kind == "damaged":
        return generate.damaged(_excerpt(text, random), random)
    if kind == "truncated":
        text = _excerpt(text, random)
        return text[: random.randint(0, len(text))]
    if kind == "relaid":
        return laid_out_anew(_head(text), random)
    return text


def texts(
    kind: str, seed: int, count: int, sources: Sequence[str] = (), shard: tuple[int, int] = (0, 1)
) -> Iterator[tuple[str, str, Random]]:
    """(name, text, random numbers to go on with); ``count`` 0 is every file; ``shard`` is one of how many."""
    first, step = shard
    if kind in GENERATED:
        for number in range(first, count, step):
            random = Random(f"{seed}/{number}")
            extra = _PLACEHOLDERS if kind == "magics" else ()
            yield f"{kind} {seed}/{number}", generate.program(random, extra), random
        return
    paths: list[Path] = []
    for source in map(Path, sources or [sysconfig.get_path("stdlib")]):
        paths += sorted(source.rglob("*.py")) if source.is_dir() else map(Path, source.read_text().splitlines())
    if count:
        paths = Random(seed).sample(paths, min(count, len(paths)))
    for path in paths[first::step]:
        if path.exists():  # environments change while this runs
            random = Random(f"{seed}/{path.name}")
            yield f"{path} {seed}", _prepared(kind, text_of(path), random), random


def run(
    kind: str, seed: int, count: int, sources: Sequence[str] = (), shard: tuple[int, int] = (0, 1)
) -> dict[str, object]:
    compared = valid = characters = 0
    differences, skipped = [], []
    for name, text, random in texts(kind, seed, count, sources, shard):
        try:
            found = difference_in_ipython(text, random) if kind == "magics" else difference(text, random)
        except (RecursionError, MemoryError):
            skipped.append(name)  # nested too deeply for the parser of this interpreter
            continue
        compared += 1
        valid += tree_of(text) is not None
        characters += len(text)
        if found:
            differences.append(f"{name}: {found}" + (f" in {text!r}" if len(text) < 400 else ""))
    counts = {"kind": kind, "compared": compared, "valid": valid, "characters": characters}
    return counts | {"skipped": skipped, "differences": differences}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("sources", nargs="*")
    parser.add_argument("--shard", default="0/1")
    options = parser.parse_args()
    first, _, step = options.shard.partition("/")
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(20_000)
    print(json.dumps(run(options.kind, options.seed, options.count, options.sources, (int(first), int(step)))))


if __name__ == "__main__":
    main()
