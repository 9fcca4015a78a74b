"""The paper's RQ2 against a real model: tasks of the corpus as prompts, any OpenAI-compatible server as upstream.

A model does not write the same program twice, so a serial run of another answer would compare nothing: the serial
figures are Eq. 1 with the run's own times, which the gateway tells with every ``done``.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, Literal

import aiohttp
import msgspec
from rich.console import Console

from loadtests.corpus import Program
from loadtests.gateway_client import GatewayClient
from loadtests.measurement import RunFailed
from loadtests.processes import Server, ServerFailed, gateway, pool_is_quiet, wait_ready
from loadtests.report import Report
from loadtests.statistics import median, saved_percent
from loadtests.tables import table

#: Of the interpreter's description (``eager.hint``).
Hint = Literal["on", "off"]
_PROMPT: Final = (
    "{task}\n\nThe files are in the working directory: {files}. Write one complete Python program, and run it."
)
_REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=600)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One task, answered by the model. ``stopped``: its code failed, and generation was ended early. ``hint``: whether
    it was told how to write code that runs early."""

    task: str
    benchmark: str
    backend: str
    status: str
    stopped: bool
    hint: Hint
    timing: dict[str, Any]


async def measure_live(
    upstream_url: str,
    key: str,
    model: str,
    programs: Sequence[Program],
    backends: Sequence[str],
    hints: Sequence[Hint],
    console: Console,
) -> tuple[list[Answer], list[str]]:
    answers: list[Answer] = []
    failures: list[str] = []
    upstream = Server(upstream_url.rstrip("/").removesuffix("/v1"), pid=0)
    settings = {"EAGER_UPSTREAM_API_KEY": key, "EAGER_POOL_SIZE": "1", "EAGER_SANDBOX_LIMIT": "4"}
    for backend in backends:
        try:
            async with (
                gateway(upstream, backend, **settings) as running,
                aiohttp.ClientSession(timeout=_REQUEST_TIMEOUT) as http,
            ):
                client = GatewayClient(http, running.url)
                for program, hint in itertools.product(programs, hints):
                    console.print(f"{backend}, hint {hint}: {program.task}")
                    try:
                        answers.append(await _ask(client, program, model, backend, hint))
                    except RunFailed as failure:
                        failures.append(f"{program.id}, {backend}, hint {hint}: {failure}")
        except ServerFailed as failure:
            failures.append(f"{backend}: {failure}")
    return answers, failures


async def _ask(client: GatewayClient, program: Program, model: str, backend: str, hint: Hint) -> Answer:
    files = ", ".join(file.name for file in program.data) or "none"
    async with client.session(program.data) as session:
        await wait_ready(f"{client.url}/readyz", is_ready=pool_is_quiet)
        events, _ = await client.complete(
            {
                "model": model,
                "messages": [{"role": "user", "content": _PROMPT.format(task=program.task, files=files)}],
                "tools": [{"type": "code_interpreter"}],
                "stream": True,
                "eager": {"session": session, "hint": "auto" if hint == "on" else "off"},
            }
        )
    ends = [event["status"] for event in events if event["type"] == "code.end"]
    if not ends or events[-1]["type"] != "done":
        raise RunFailed(next((str(event["error"]) for event in events if event["type"] == "error"), "no code"))
    return Answer(
        task=program.id,
        benchmark=program.benchmark,
        backend=backend,
        status=ends[-1],
        stopped=any(event["type"] == "interrupt" for event in events),
        hint=hint,
        timing=events[-1]["timing"],
    )


def live_report(model: str, answers: Sequence[Answer], failures: Sequence[str]) -> Report:
    body = f"Model: `{model}`. Serial: Eq. 1 with the times of the same run.\n\n"
    return Report(
        name="live",
        title="Live: a real model",
        body=body + live_table(answers),
        data={"model": model, "answers": answers},
        remarks=failures,
    )


def live_table(answers: Sequence[Answer]) -> str:
    """Programs that ran through, and programs that failed, in rows of their own."""
    cells: dict[tuple[str, str, str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        outcome = "ran" if answer.status == "ok" else "failed"
        cells[answer.backend, answer.benchmark, outcome, answer.hint].append(answer)
    header = ["env", "benchmark", "code", "hint", "answers", "stopped early", "statements"]
    header += ["first output, of generation", "NEL saved", "E2EL saved"]
    return table(header, [[*key, *_cells(group)] for key, group in sorted(cells.items())])


def _cells(answers: Sequence[Answer]) -> list[str]:
    def total(name: str) -> float:
        return sum(float(answer.timing[name]) for answer in answers)

    serial_nel = total("serial_e2el_ms") - total("gen_ms")
    nel = saved_percent(serial_nel, total("nel_ms"))
    e2el = saved_percent(total("serial_e2el_ms"), total("e2el_ms"))
    stopped = sum(answer.stopped for answer in answers)
    chunks = median([float(answer.timing["chunks"]) for answer in answers])
    shares = [first / answer.timing["gen_ms"] for answer in answers if (first := answer.timing.get("first_output_ms"))]
    told = [f"{chunks:.0f}", f"{median(shares):.0%}" if shares else "-"]
    return [
        str(len(answers)),
        str(stopped),
        *told,
        *("-" if value is None else f"{value:.1f} %" for value in (nel, e2el)),
    ]
