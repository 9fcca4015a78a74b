"""What the compiler makes of a text is bounded before it is asked."""

import ast
import sys
from collections.abc import Iterator
from itertools import chain
from textwrap import indent
from types import CodeType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.detection.chunk import Chunk, SyntaxProblem
from app.detection.confirm import Confirmer
from app.detection.growth import MOST, is_safe_to_compile, weight

VERSION = sys.version_info[:2]
#: Bytes of bytecode (2 an instruction and its caches) that a node may compile to, on the whole of a text.
BYTES_OF_NODE = 24

pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")


def nested(levels: int, body: str = "return 0", innermost: str = "a", head: str = "def f():") -> str:
    lines = [head]
    for level in range(1, levels + 1):
        lines += [" " * level + f"try:{body}", " " * level + "finally:"]
    lines += [" " * (levels + 1) + line for line in innermost.split("\n")]
    return "\n".join(lines) + "\n"


def beside(exits: str, count: int, final: str) -> str:
    loop = "def f():\n for a in b:\n  try:\n   c\n"
    return loop + f"   {exits}\n" * count + f"  finally:\n   {final}\n"


def in_withs(word: str, count: int) -> str:
    return f"async def f():\n {word} " + ",".join("a" * 17) + ":\n" + "  return\n" * count


EXPLOSIVE = {
    "returns, nested": nested(14),
    "ways out through a loop": nested(12, "break", head="while 1:"),
    "continue": nested(12, "continue", head="for a in b:"),
    "no way out but the ends": nested(20, "a"),
    "at the top level": nested(20, "a", head="if a:"),
    "in a class": nested(20, "a", head="class A:"),
    "in a method of a class in a function": "def f():\n class A:\n" + indent(nested(14), "  "),
    "many ways out of one": beside("if d:return", 60, "e;" * 500),
    "many continues": beside("if d:continue", 60, "e;" * 500),
    "code objects in it": nested(9, "a", "x=[a for a in b]"),
    "functions in it": nested(10, "a", "def g():a"),
    "an async with in it": nested(9, "a", "async with a:b", "async def f():"),
    "many ways out of async withs": in_withs("async with", 270),
    "lambdas in lambdas": "lambda:" * 350 + "0\n",
    "handlers with ways out": "def f():\n"
    + "".join(" " * i + "try:a\n" + " " * i + "except:return\n" + " " * i + "finally:\n" for i in range(1, 12))
    + " " * 12
    + "b\n",
}
PLAIN = {
    "one finally": "def f():\n try:\n  return g()\n finally:\n  h()\n",
    "three nested": nested(3),
    "ways out of withs": in_withs("with", 270),
    "the word alone": "x = 'finally'\n",
    "statements": "a = b; c = d(e)\n" * 120,
    "lambdas": "f(lambda x: x)\n" * 30,
}


COMPREHENSION = "[a for a in b]"


def comprehensions(levels: int) -> str:
    return "[" * levels + "a" + " for a in b]" * levels + "\n"


def in_tries(levels: int, innermost: str) -> str:
    opened = "".join(" " * level + "try:\n" for level in range(levels))
    closed = "".join(" " * level + "except:a\n" for level in reversed(range(levels)))
    return f"{opened}{' ' * levels}{innermost.strip()}\n{closed}"


#: Where CPython 3.12 and 3.13 die, which have no room for so many handlers.
DEEP = {
    "comprehensions": comprehensions(21),
    "in a function": f"def f():\n x={comprehensions(18)}",
    "asynchronous ones": f"async def f():\n x={comprehensions(18).replace('for', 'async for')}",
    "of sets": comprehensions(21).replace("[", "{").replace("]", "}"),
    "in tries": in_tries(16, comprehensions(5)),
    "one in the items of a with": f"with {','.join('a' * 20)}:\n {COMPREHENSION}\n",
    "one in handlers": "".join(" " * n + "try:a\n" + " " * n + "except b as c:\n" for n in range(10))
    + " " * 10
    + COMPREHENSION,
}
SHALLOW = {
    "five comprehensions": comprehensions(5),
    "many beside one another": f"f({COMPREHENSION}, {COMPREHENSION})\n" * 40,
    "in a with of a try": f"try:\n with a, b:\n  for c in d:\n   {comprehensions(2)}except e: f\n",
    "loops alone": "".join(" " * n + "while a:\n" for n in range(15)) + " " * 15 + "b\n",
}


def compiled(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from compiled(constant)


def bytecode(tree: ast.Module) -> int:
    code = compile(tree, "<text>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return sum(len(part.co_code) for part in compiled(code))


@pytest.mark.parametrize("source", [*EXPLOSIVE.values(), *DEEP.values()], ids=[*EXPLOSIVE, *DEEP])
def test_what_would_grow_or_is_too_deep_is_not_compiled(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(source) <= 2_500, "only what is confirmed at all"
    monkeypatch.setattr("app.detection.growth._INLINES", True)
    monkeypatch.setattr("app.detection.confirm.refusal_of", lambda tree, flags: pytest.fail("it was compiled"))
    answer = Confirmer(VERSION).confirm(Chunk(0, source, 0, len(source), 1, 0, "def"))
    assert isinstance(answer, ast.Module), "the gate still sees its tree"


@pytest.mark.parametrize("source", [*PLAIN.values(), *SHALLOW.values()], ids=[*PLAIN, *SHALLOW])
def test_the_rest_is_compiled(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.detection.growth._INLINES", True)
    assert is_safe_to_compile(source, ast.parse(source))


def test_errors_that_only_the_compiler_knows_are_found_beside_a_finally() -> None:
    source = nested(3) + " break\n"
    answer = Confirmer(VERSION).confirm(Chunk(0, source, 0, len(source), 1, 0, "def"))
    assert isinstance(answer, SyntaxProblem)
    assert answer.message == "'break' outside loop"


LEAVES = st.sampled_from(
    [
        "a",
        "return",
        "break",
        "continue",
        "x = [b for b in c]",
        "assert a",
        "await a",
        "f(lambda: 0)",
        "a = b = c",
        "pass",
    ]
)
HEADS = st.sampled_from(
    [
        *(["try:", "finally:"], ["try:", "except a as b:", "finally:"], ["try:", "except:", "else:", "finally:"]),
        *(["with a, b as c:"], ["async with a, b:"], ["async for a in b:", "else:"], ["while a:"], ["if a:", "else:"]),
        *(["try:", "except* a:", "finally:"], ["def g():"], ["class A:"], ["match a:\n case [b, *c] | {1: b, **c}:"]),
    ]
)


@st.composite
def compound(draw: st.DrawFn, inner: st.SearchStrategy[list[str]]) -> list[str]:
    lines: list[str] = []
    for head in draw(HEADS):
        first, *case = head.split("\n")
        depth = " " * (len(case) + 1)
        lines += [first, *case, *(depth + line for line in draw(inner))]
    return lines


STATEMENTS = st.recursive(
    st.lists(LEAVES, min_size=1, max_size=3),
    lambda inner: st.lists(compound(inner), min_size=1, max_size=2).map(lambda parts: list(chain(*parts))),
    max_leaves=14,
)


@settings(max_examples=300, deadline=None)
@given(STATEMENTS)
def test_the_weight_bounds_the_bytecode(statements: list[str]) -> None:
    source = "async def f():\n while 1:\n" + "".join(f"  {line}\n" for line in statements)
    tree = ast.parse(source)
    found = weight(tree)
    if found > MOST:
        return
    try:
        size = bytecode(tree)
    except SyntaxError:
        return
    assert size <= BYTES_OF_NODE * found + 500
