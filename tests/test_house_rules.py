"""The rules of CONTRIBUTING.md that a parser can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import pure_coverage

PROJECT = Path(__file__).parents[1]
#: Programs that are data.
DATA = ("app/replay/programs", "loadtests/peer_programs")
LONGEST_MODULE = 400
LONGEST_FUNCTION = 75
#: Names that stand for one idea wherever they are.
ONE_IDEA: set[str] = set()


@cache
def modules(*folders: str) -> dict[str, ast.Module]:
    found = {}
    for folder in folders:
        for file in sorted((PROJECT / folder).rglob("*.py")):
            name = str(file.relative_to(PROJECT))
            if not name.startswith(DATA):
                found[name] = ast.parse(file.read_text("utf-8"))
    return found


def names_of_types(module: ast.Module) -> Iterator[str]:
    """Classes, and module-level names that are written like classes: aliases of types."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            yield node.name
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]) if not name.isupper() and name.lstrip("_")[:1].isupper():
                yield name


def test_a_type_has_a_name_of_its_own() -> None:
    """Private names too: who searches for one idea does not want to find two."""
    places = defaultdict(list)
    for file, module in modules("app", "sandbox_image").items():
        for name in names_of_types(module):
            places[name.lstrip("_")].append(file)
    assert {name: files for name, files in places.items() if len(files) > 1 and name not in ONE_IDEA} == {}


@pytest.mark.parametrize("folder", ["app", "sandbox_image", "loadtests"])
def test_modules_and_functions_are_short(folder: str) -> None:
    long = {}
    for file, module in modules(folder).items():
        lines = (PROJECT / file).read_text("utf-8").count("\n")
        if lines > LONGEST_MODULE:
            long[file] = lines
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long[f"{file}: {node.name}"] = lines
    assert long == {}


def test_only_a_few_modules_catch_everything_and_go_on() -> None:
    """Elsewhere ``except Exception`` cleans up and raises again. ``CONTRIBUTING.md`` names the modules."""
    everything = {"Exception", "BaseException", "ExceptionGroup", "BaseExceptionGroup"}
    found = {
        file
        for file, module in modules("app").items()
        for node in ast.walk(module)
        if isinstance(node, ast.ExceptHandler)
        if node.type is None or everything & {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
        if not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
    }
    allowed = {
        "app/api/edge/last_resort.py",
        "app/sandbox/docker/engines.py",
        "app/sandbox/egress/proxy.py",
        "app/sandbox/pool.py",
    }
    assert found == allowed
    text = (PROJECT / "CONTRIBUTING.md").read_text("utf-8")
    assert all(f"`{file.removeprefix('app/')}`" in text for file in allowed)


def test_pure_folders_neither_open_nor_print() -> None:
    """What they may not import is in pyproject.toml (TID251), which does not know built-in functions."""
    calls = []
    for file, module in modules("app").items():
        if file.startswith(tuple(pure_coverage.HELD)):
            calls += [
                f"{file}:{node.lineno} {node.func.id}"
                for node in ast.walk(module)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                if node.func.id in {"open", "print", "input", "__import__"}
            ]
    assert calls == []


def test_coverage_below_what_is_held_fails_the_run() -> None:
    """Of all pure folders only one is tested here, and that not by all of its tests."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.pure_coverage", "tests/sse/test_encoder.py"]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert "passed" in run.stdout
    assert all(f"{place}: " in run.stdout for place in pure_coverage.HELD)


def test_modules_of_the_sandbox_begin_with_who_runs_them() -> None:
    first_words = {}
    for file, module in modules("sandbox_image").items():
        first_words[file] = (ast.get_docstring(module) or "").split(" ")[0]
    del first_words["sandbox_image/__init__.py"]
    assert {file: word for file, word in first_words.items() if word not in {"Supervisor.", "Program.", "Both."}} == {}
