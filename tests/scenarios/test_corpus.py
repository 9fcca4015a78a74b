"""The programs a model would write, through the running gateway: what they print, where they fail, what was saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.scenarios.client import body, collect, cut_short, of_type, session, text

CORPUS = Path(__file__).parents[1] / "corpus"
PROGRAMS = [json.loads(line) for line in (CORPUS / "manifest.jsonl").read_text().splitlines()]
#: Tokens a second; 0 is as fast as possible.
PACES = (0, 100)

every_program = pytest.mark.parametrize("program", PROGRAMS, ids=[program["id"] for program in PROGRAMS])


def files(program: dict[str, Any]) -> list[Path]:
    return [CORPUS / "data" / name for name in program["data"]]


@every_program
@pytest.mark.parametrize("pace", PACES)
async def test_a_program_of_the_corpus(
    gateway: httpx.AsyncClient, upstream: httpx.AsyncClient, program: dict[str, Any], pace: int
) -> None:
    async with session(gateway, files(program)) as name:
        found = await collect(gateway, body(f"{program['id']}@{pace}", session=name))
    done = found[-1]
    assert done["type"] == "done"
    assert of_type(found, "error") == []
    (end,) = of_type(found, "code.end")
    errors = of_type(found, "exec.error")
    if program["kind"] == "ok":
        assert errors == []
        assert text(found, "stdout") == program["stdout"]
        assert end["status"] == "ok"
        assert end["ran"] == end["chunks"]
        assert done["timing"]["bound_ms"] <= done["timing"]["e2el_ms"]
        return
    (error,) = errors
    assert error["ename"] == program["exception"].rpartition(".")[2]
    assert end["status"] == "error"
    if program["kind"] == "error":
        assert text(found, "stdout") == program["stdout"]
        assert error["line"] == program["exception_line"]
        assert program["exception_message"].split("(SITE")[0] in error["traceback"]
        if pace:
            sent = await cut_short(upstream, f"{program['id']}@{pace}")
            assert sent["tokens_sent"] < sent["tokens_total"]
    else:
        assert error["phase"] == "compile"
        assert end["ran"] == program["statements_complete_before_error"]
