"""The programs a model would write, through the running gateway: what they print, where they fail, what was saved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.scenarios.client import JsonEvent, body, collect, cut_short, of_type, session, text

CORPUS = Path(__file__).parents[1] / "corpus"
PROGRAMS = [json.loads(line) for line in (CORPUS / "manifest.jsonl").read_text().splitlines()]
#: Tokens a second; 0 is as fast as possible.
PACES = (0, 100)

#: Programs that run side by side. They mostly wait for their tokens.
AT_ONCE = 6

every_program = pytest.mark.parametrize("program", PROGRAMS, ids=[program["id"] for program in PROGRAMS])


def files(program: dict[str, Any]) -> list[Path]:
    return [CORPUS / "data" / name for name in program["data"]]


@dataclass
class Run:
    """One program at one pace. ``sent`` is what the upstream says of a generation that had to end early."""

    events: list[JsonEvent]
    sent: dict[str, Any] | None = None


Runs = dict[tuple[str, int], asyncio.Task[Run]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runs(
    request: pytest.FixtureRequest, backend: str, gateway_url: str, upstream_url: str
) -> AsyncIterator[Runs]:
    """What the tests of this module that were asked for want to look at, all on its way."""
    free = asyncio.Semaphore(AT_ONCE)
    async with (
        httpx.AsyncClient(base_url=gateway_url, timeout=120) as gateway,
        httpx.AsyncClient(base_url=upstream_url, timeout=30) as upstream,
    ):

        async def run(program: dict[str, Any], pace: int) -> Run:
            model = f"{program['id']}@{pace}"
            async with free:
                async with session(gateway, files(program)) as name:
                    found = await collect(gateway, body(model, session=name))
                early = program["kind"] == "error" and pace
                return Run(found, await cut_short(upstream, model) if early else None)

        wanted = [
            item.callspec.params
            for item in request.session.items
            if isinstance(item, pytest.Function) and item.module is request.module
        ]
        begun = {
            (params["program"]["id"], params["pace"]): asyncio.create_task(run(params["program"], params["pace"]))
            for params in wanted
            if params["backend"] == backend
        }
        yield begun
        for task in begun.values():
            task.cancel()
        await asyncio.wait(begun.values())


@pytest.mark.asyncio(loop_scope="module")
@every_program
@pytest.mark.parametrize("pace", PACES)
async def test_a_program_of_the_corpus(runs: Runs, program: dict[str, Any], pace: int) -> None:
    run = await runs[program["id"], pace]
    found = run.events
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
            assert run.sent is not None
            assert run.sent["tokens_sent"] < run.sent["tokens_total"]
    else:
        assert error["phase"] == "compile"
        assert end["ran"] == program["statements_complete_before_error"]
