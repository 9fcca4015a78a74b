from __future__ import annotations

import ast
import textwrap

import pytest

from app.scheduling.gate import Category, Gate, Policy


def classify(gate: Gate, source: str) -> Category | None:
    source = textwrap.dedent(source)
    return gate.classify(ast.parse(source), source)


def one(source: str, policy: Policy = "paper") -> Category | None:
    return classify(Gate(policy), source)


@pytest.mark.parametrize(
    ("source", "category"),
    [
        ("def f():\n    return 1\n", "low_yield"),
        ("async def f(): ...\n", "low_yield"),
        ("@dataclass\nclass A:\n    x: int = 0\n", "low_yield"),
        ("os.remove('x')\n", "side_effects"),
        ("x = [subprocess.run(c) for c in cs]\n", "side_effects"),
        ("with open('x') as f:\n    print(f.read())\n", "side_effects"),
        ("getattr(shutil, name)(path)\n", "side_effects"),
        ("run(target=multiprocessing)\n", "side_effects"),
        ("time.sleep(1)\n", "timing"),
        ("if late:\n    signal.alarm(3)\n", "timing"),
        ("threading.Thread(target=f).start()\n", "timing"),
        ("eval('1+1')\n", "dynamic"),
        ("print(f'{exec(code)}')\n", "dynamic"),
        ("compile(s, 'f', 'exec')\n", "dynamic"),
        ("m = __import__('os')\n", "dynamic"),
        ("df = df.time.dt.floor('h')\n", None),
        ("x = 1\n", None),
        ("import os, time, subprocess\n", None),
        ("print(df.eval('a+b'))\n", None),
        ("time = 3\n", None),
        ("# nothing but a remark\n", None),
    ],
)
def test_each_category_is_told_by_its_names(source: str, category: Category | None) -> None:
    assert one(source) == category


@pytest.mark.parametrize(
    ("imports", "use", "category"),
    [
        ("import os as o", "o.remove('x')", "side_effects"),
        ("import os.path as p", "p.join('x')", "side_effects"),
        ("import os.path", "os.getcwd()", "side_effects"),
        ("from os import remove", "remove('x')", "side_effects"),
        ("from os import remove as rm, path", "rm('x')", "side_effects"),
        ("from time import sleep as nap", "nap(1)", "timing"),
        ("import datetime as d", "d.datetime.now()", "timing"),
        ("from datetime import datetime as dt", "dt.now()", "timing"),
        ("from datetime import datetime as dt", "dt(2024, 1, 1)", None),
        ("import builtins as b", "b.eval('1')", "dynamic"),
        ("import builtins", "builtins.len('1')", None),
        ("from mine import time", "time.sleep(1)", None),
        ("from .time import sleep", "sleep(1)", None),
        ("import numpy as os", "os.mean(x)", None),
    ],
)
def test_aliases_of_earlier_chunks_are_followed(imports: str, use: str, category: Category | None) -> None:
    gate = Gate("paper")
    assert classify(gate, imports + "\n") is None
    assert classify(gate, "x = 1\n") is None
    assert classify(gate, use + "\n") == category


def test_an_alias_imported_deeper_in_the_same_chunk_counts() -> None:
    assert one("if a:\n    o.remove('x')\n    if b:\n        import os as o\n") == "side_effects"


def test_a_star_import_of_a_listed_module_is_gated_itself() -> None:
    assert one("from os import *\n") == "side_effects"
    assert one("from math import *\n") is None


def test_a_definition_that_names_an_effect_is_not_merely_low_yield() -> None:
    source = "def wipe(p):\n    os.remove(p)\n"
    assert one(source) == "side_effects"
    assert one(source, "permissive") == "low_yield"


def test_a_definition_among_other_statements_is_worth_running() -> None:
    assert one("def f(): ...\nf()\n") is None


def test_permissive_knows_low_yield_only_and_off_nothing() -> None:
    assert one("time.sleep(1)\n", "permissive") is None
    assert one("def f(): ...\n", "permissive") == "low_yield"
    assert one("def f(): ...\n", "off") is None
    assert one("os.remove('x')\n", "off") is None


@pytest.mark.parametrize(
    ("source", "category"),
    [
        ("%timeit f()\n", "side_effects"),
        ("\n# install\n  !pip install x\n", "side_effects"),
        ("files = !ls\n", "side_effects"),
        ("?len\n", "side_effects"),
        ("type X[T = int] = list[T]\n", None),
        ("x = 5 %2\n", None),
        ("", None),
    ],
)
def test_what_cannot_be_parsed_runs_unless_it_is_a_magic(source: str, category: Category | None) -> None:
    assert Gate("paper").classify(None, source) == category
    assert Gate("permissive").classify(None, source) is None


def test_who_deploys_it_can_extend_the_lists() -> None:
    gate = Gate("paper", {"side_effects": ["requests", "os.path"], "timing": ["requests.sessions"]})
    assert classify(gate, "requests.post(url)\n") == "side_effects"
    assert classify(gate, "requests.sessions.Session()\n") == "timing"
    assert classify(Gate("paper"), "requests.post(url)\n") is None


def test_decisions_follow_the_category() -> None:
    gate = Gate("paper")
    assert gate.decide(None) == "run"
    assert gate.decide("low_yield") == "defer"
    assert {gate.decide(category) for category in ("side_effects", "timing", "dynamic")} == {"serial"}


def test_a_long_attribute_chain_is_looked_at_once() -> None:
    chain = "x" + ".a" * 800 + "\n"
    assert one(chain) is None
    assert one("f()" + ".a" * 800 + "(os)\n") == "side_effects"


def test_the_repr_tells_policy_and_size() -> None:
    gate = Gate("paper", {"timing": ["x"]})
    classify(gate, "import os as o\n")
    assert repr(gate).startswith("<Gate paper, ")
    assert repr(gate).endswith(" names, 1 aliases>")
