"""Each chunk is emitted at the first character after which nothing can change its statement.

Sound: no continuation that parses changes it. Tight: one character earlier there is one that does (a witness).
"""

import ast
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from app.detection.chunk import Chunk
from tests.detection.differential import Run, tree_of
from tests.tricky import programs

pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")

#: Of the standard library, whatever else a distribution has put there.
MODULES = ("bisect", "calendar", "colorsys", "contextlib", "difflib", "functools", "heapq", "pickle", "sched", "typing")
LONGEST = 1_500
# What may still change a statement that is all but over.
WITNESSES = (
    *("x\n", ".a\n", "0\n", " as z\n", " + 1\n", ", b\n", " = 1\n", "\n=1\n", ":1\n", "(1)\n", " 'a'\n", "'\n", '"\n'),
    *(".z import q\n", " import q\n", "import q\n", " from q\n", " in x: pass\n", "; else", ")\n", " if 1 else 2\n"),
    *(":\n case _: pass\n", "\n\n"),
)
CONTINUATIONS = (
    *("", "lse: pass\n", "else: pass\n", " else: pass\n", "\n    x\n", "    x\n", "#c\n    x\n", "xcept: pass\n"),
    *("except: pass\n", "finally: pass\n", "f x: pass\n", "\nelse: pass\n", "\nfinally: pass\n", ".a\n", "(1)\n"),
    *("+1\n", " + 1\n", " if 1 else 2\n", "\\\n+1\n", " = 1\n", ":\n pass\n", ", b\n", "\\\n    x\n", "\f    x\n"),
    *(
        "\t x\n",
        "\n\\\n    x\n",
        '"""\n',
        "'''\n",
        "lif x: pass\n",
        "\n case _: pass\n",
        "_x = 1\n",
        "*1\n",
        ":\n  x\n",
    ),
    *("0\n", '"\n', "'\n", ")\n", "]\n", "}\n", "=1\n", "= 1\nelse: pass\n", "\r\n    x\n", "\nexcept* X: pass\n"),
)
CLAUSES = ("elif x: pass\n", "else: pass\n", "except: pass\n", "finally: pass\n")


def samples() -> Iterator[str]:
    # A "\r" alone would end a line, too, but is held: it may be half of a line end.
    yield from (code for _, code in programs.CASES if "\r" not in code)
    for name in MODULES:
        path = Path(sysconfig.get_path("stdlib"), f"{name}.py")
        yield "".join(path.read_text(encoding="utf-8").splitlines(True)[:600])


def first_statement(text: str) -> str | None:
    tree = tree_of(text)
    return None if tree is None else "".join(ast.dump(node) for node in tree.body[:1])


def code_of(chunk: Chunk) -> str:
    return re.sub(r"\A(?:[ \t\f]|\\?\r?\n|#[^\n]*)*", "", chunk.source)


def emissions() -> Iterator[tuple[Chunk, str, str]]:
    """Chunks with the code read when they were emitted, from their first character on, and the statement in it."""
    for text in samples():
        if tree_of(text) is None:
            continue
        run = Run(text, [1] * len(text))
        for chunk, read in zip(run.chunks, run.emitted, strict=True):
            code = code_of(chunk)
            start = chunk.end - len(code)
            statement = first_statement(code + "\n")
            if statement and read < len(text) and read - start < LONGEST:
                yield chunk, text[start:read], statement


def test_no_continuation_changes_an_emitted_statement() -> None:
    random, parsed = Random(3), 0
    for _, code, statement in emissions():
        for continuation in random.sample(CONTINUATIONS, 24):
            found = first_statement(code + continuation)
            parsed += found is not None
            assert found in (None, statement), (code[-100:], continuation)
    assert parsed > 500


def test_one_character_earlier_a_continuation_would_change_it() -> None:
    seen = 0
    for chunk, code, statement in emissions():
        if re.match(r"from\b.*\bimport[ \t]*[(*]", code, re.DOTALL):
            continue  # nothing can follow its bracket, but it ends with its line
        seen += 1
        lines = code_of(chunk).splitlines()
        indents = {re.match(r"[ \t\f]*", line).group() for line in lines}  # type: ignore[union-attr]
        bodies = [
            f"{new}{indent}{line}\n" for indent in indents for new in ("", "\n") for line in ("zz", "case _: pass")
        ]
        word = re.search(r"[a-z]*\Z", code[:-1]).group()  # type: ignore[union-attr]
        clauses = [clause.removeprefix(word) for clause in CLAUSES if clause.startswith(word)]
        candidates = (first_statement(code[:-1] + witness) for witness in (*clauses, *bodies, *WITNESSES))
        assert any(found not in (None, statement) for found in candidates), code[-100:]
    assert seen > 200
