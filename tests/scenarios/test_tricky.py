"""Programs on which eager executors lose, double or misplace something, in fragments of 1, 4 and 24 characters."""

from __future__ import annotations

import asyncio
import builtins
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.backends import SANDBOX_ENV
from tests.scenarios.client import body, collect, of_type, text
from tests.scenarios.servers import eager
from tests.tricky.programs import CASES

#: What IPython prints for its own syntax, CPython has nothing to say about.
MAGICS = {"ipython_magic": "1\n", "ipython_bang": "a\n", "ipython_cell_magic": "a\n"}
FRAGMENTS = (1, 4, 24)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tricky")
    for name, source in CASES:
        (folder / f"{name}.py").write_bytes(source.encode())
    return folder


@pytest.fixture(scope="module")
def tricky_upstream(programs: Path) -> Iterator[str]:
    with eager("upstream", "--corpus", str(programs), "--tps", "0", "--ttft-ms", "0") as server:
        yield server.url


@pytest.fixture(scope="module")
def tricky_gateway(backend: str, tricky_upstream: str) -> Iterator[str]:
    # Nothing is preloaded: every program has a sandbox of its own, and they start faster so.
    settings = {"EAGER_SANDBOX": backend, "EAGER_PRELOAD": "", "EAGER_POOL_SIZE": "3"}
    with eager("serve", EAGER_UPSTREAM_BASE_URL=f"{tricky_upstream}/v1", **settings) as server:
        yield server.url


def expected(file: Path) -> dict[str, Any]:
    command = [SANDBOX_ENV.absolute(), "-I", Path(__file__).with_name("whole_program.py"), file]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


@pytest.mark.parametrize("name", [name for name, _ in CASES])
async def test_a_tricky_program(tricky_gateway: str, programs: Path, name: str) -> None:
    async with httpx.AsyncClient(base_url=tricky_gateway, timeout=60) as gateway:
        runs = await asyncio.gather(
            *(collect(gateway, {**body(name), "replay": {"chars": fragment, "as": "tool"}}) for fragment in FRAGMENTS)
        )
    if name in MAGICS:
        for found in runs:
            assert of_type(found, "exec.error") == []
            assert text(found, "stdout").startswith(MAGICS[name])
        return
    outcome = expected(programs / f"{name}.py")
    for found in runs:
        errors = of_type(found, "exec.error")
        if outcome["ename"] is None:
            assert errors == []
            assert text(found, "stdout") == outcome["stdout"]
            continue
        (error,) = errors
        assert error["ename"] == outcome["ename"]
        if issubclass(getattr(builtins, error["ename"], Exception), SyntaxError):
            # What cannot be equal: statements before the error have run. They are all that has.
            assert error["phase"] == "compile"
            assert text(found, "stdout") in ("", "before\n")
        else:
            assert text(found, "stdout") == outcome["stdout"]
            assert error["line"] == outcome["line"]


async def test_the_value_of_a_last_expression_is_shown_only_if_it_is_the_last(tricky_gateway: str) -> None:
    async with httpx.AsyncClient(base_url=tricky_gateway, timeout=60) as gateway:
        shown = {
            name: [result["repr"] for result in of_type(await collect(gateway, body(name)), "exec.result")]
            for name in (
                "last_expression",
                "last_expression_semicolon",
                "last_expr_bare_name",
                "mid_expression_display",
            )
        }
    assert shown == {
        "last_expression": ["42"],
        "last_expression_semicolon": [],
        "last_expr_bare_name": ["42"],
        "mid_expression_display": [],
    }
