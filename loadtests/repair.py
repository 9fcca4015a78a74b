"""The paper's RQ3: after an error, does the model do better from the partial code, at which it was stopped, or from all
of it? By a real model (``EAGER_BENCH_KEY``), or by the scripted one of ``repair_upstream``, which always repairs: it
tells what a repair costs, not how often it succeeds."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from rich.console import Console

from loadtests.corpus import Program
from loadtests.gateway_client import PYTHON_TOOL, GatewayClient
from loadtests.measurement import RunFailed
from loadtests.processes import Server, ServerFailed, gateway, server
from loadtests.repairs import read_repairs
from loadtests.report import Report
from loadtests.statistics import median
from loadtests.tables import table

#: As ``repair_from`` of the request.
FORMS: Final = ("partial", "full")
_MAX_TURNS: Final = 8
_PROMPT: Final = (
    "{task}\n\nThe files are in the working directory: {files}. Write one complete Python program, and run it."
)
_REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=600)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Without ``upstream`` the scripted model is asked, at ``tps``."""

    corpus: Path
    programs: Sequence[Program]
    backends: Sequence[str]
    repeats: int
    tps: float = 100
    upstream: str | None = None
    model: str | None = None
    key: str = ""


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """One task that failed at first.

    Attributes:
        resolved: its last piece of code ran to its end.
        tokens: that the model wrote, as it says itself, else those received.
        to_repair_s: from the request to the end of the code that ran, or of the request.
    """

    program: str
    benchmark: str
    backend: str
    form: str
    resolved: bool
    failures: int
    tokens: int
    to_repair_s: float
    e2el_s: float


async def measure_repair(plan: Plan, console: Console) -> tuple[list[Repaired], list[str]]:
    found: list[Repaired] = []
    failures: list[str] = []
    programs = list(plan.programs)
    if plan.upstream is None:
        known = read_repairs()
        failures += [f"{program.id}: no correction is known" for program in programs if program.id not in known]
        programs = [program for program in programs if program.id in known]
    async with _upstream(plan) as upstream, aiohttp.ClientSession(timeout=_REQUEST_TIMEOUT) as http:
        for backend in plan.backends:
            settings = {
                "EAGER_POOL_SIZE": "1",
                "EAGER_SANDBOX_LIMIT": "1",
                "EAGER_TURN_LIMIT": str(_MAX_TURNS),
                **({"EAGER_UPSTREAM_API_KEY": plan.key} if plan.key else {}),
            }
            try:
                async with gateway(upstream, backend, **settings) as running:
                    client = GatewayClient(http, running.url)
                    async with client.session() as session:
                        await _all(plan, client, session, backend, programs, found, failures, console)
            except ServerFailed as failure:
                failures.append(f"{backend}: {failure}")
    return found, failures


async def _all(
    plan: Plan,
    client: GatewayClient,
    session: str,
    backend: str,
    programs: Sequence[Program],
    found: list[Repaired],
    failures: list[str],
    console: Console,
) -> None:
    for repeat in range(plan.repeats):
        for program in programs:
            console.print(f"{backend}: {program.id}")
            for form in FORMS if repeat % 2 == 0 else FORMS[::-1]:
                try:
                    await client.renew(session, program.data)
                    events, e2el_ms = await client.complete(_body(plan, program, session, form))
                    if repaired := repaired_of(program, backend, form, events, e2el_ms):
                        found.append(repaired)
                except RunFailed as failure:
                    failures.append(f"{program.id}, {form}, {backend}: {failure}")


def _body(plan: Plan, program: Program, session: str, form: str) -> dict[str, Any]:
    files = ", ".join(file.name for file in program.data) or "none"
    return {
        "model": plan.model or f"{program.id}@{plan.tps:g}",
        "messages": [{"role": "user", "content": _PROMPT.format(task=program.task, files=files)}],
        "tools": [PYTHON_TOOL],
        "stream": True,
        "eager": {"session": session, "on_error": "repair", "repair_from": form, "max_turns": _MAX_TURNS},
    }


def repaired_of(program: Program, backend: str, form: str, events: Sequence[Any], e2el_ms: float) -> Repaired | None:
    """None if nothing failed: there was nothing to repair.

    Raises:
        RunFailed: the request did, or the model wrote no code.
    """
    if not events or events[-1]["type"] != "done":
        raise RunFailed("the stream ended early")
    if failure := next((event for event in events if event["type"] == "error"), None):
        raise RunFailed(str(failure["error"]))
    ends = [event for event in events if event["type"] == "code.end"]
    if not ends:
        raise RunFailed("no code was found in the answer")
    failed = sum(end["status"] != "ok" for end in ends)
    if not failed:
        return None
    resolved = ends[-1]["status"] == "ok"
    return Repaired(
        program=program.id,
        benchmark=program.benchmark,
        backend=backend,
        form=form,
        resolved=resolved,
        failures=failed,
        tokens=sum(event["type"] == "token" and bool(event["text"]) for event in events),
        to_repair_s=(ends[-1]["t_ms"] if resolved else events[-1]["t_ms"]) / 1e3,
        e2el_s=e2el_ms / 1e3,
    )


@asynccontextmanager
async def _upstream(plan: Plan) -> AsyncIterator[Server]:
    if plan.upstream is not None:
        yield Server(plan.upstream.rstrip("/").removesuffix("/v1"), pid=0)
        return
    command = [sys.executable, "-m", "loadtests.repair_upstream"]
    async with server(lambda port: [*command, str(port), str(plan.corpus)], {}, ready_path="/v1/models") as running:
        yield running


def repair_report(plan: Plan, found: Sequence[Repaired], failures: Sequence[str]) -> Report:
    who = f"Model: `{plan.model}`." if plan.upstream else f"A scripted model at {plan.tps:g} tokens/s, which repairs."
    body = f"{who} *Partial*: stopped at the error; *full*: told of it at the end of its code. Medians.\n\n"
    return Report(
        name="repair",
        title="Repair: from the partial or the full code",
        body=body + repair_table(found),
        data={"model": plan.model, "repaired": found},
        remarks=failures,
    )


def repair_table(found: Sequence[Repaired]) -> str:
    cells: dict[tuple[str, str], dict[str, list[Repaired]]] = defaultdict(lambda: defaultdict(list))
    for repaired in found:
        for benchmark in (repaired.benchmark, "all"):
            cells[repaired.backend, benchmark][repaired.form].append(repaired)
    header = ["env", "benchmark", "from", "failed", "resolved", "tokens", "s to the repair", "E2EL s"]
    rows = []
    for key, forms in sorted(cells.items(), key=lambda item: (item[0][0], item[0][1] == "all", item[0][1])):
        rows += [[*key, form, *_cells(forms[form])] for form in FORMS if forms[form]]
    return table(header, rows)


def _cells(found: Sequence[Repaired]) -> list[str]:
    resolved = sum(repaired.resolved for repaired in found)
    return [
        str(len(found)),
        f"{resolved / len(found):.0%}",
        f"{median([repaired.tokens for repaired in found]):.0f}",
        f"{median([repaired.to_repair_s for repaired in found]):.2f}",
        f"{median([repaired.e2el_s for repaired in found]):.2f}",
    ]
