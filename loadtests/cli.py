"""``eager bench``: what each evaluation runs, where its results go."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from loadtests.corpus import OWN_CORPUS, Program, read_corpus, sample
from loadtests.measurement import MODES, Measurement, Mode
from loadtests.report import Report, write

RESULTS: Final = Path(__file__).with_name("results")
#: What ``--fast`` allows itself for runs; starting and stopping servers comes on top.
FAST_LIMIT_S: Final = 240.0

bench = typer.Typer(
    name="eager bench",
    help="Measures what this machine makes of Eager, in the terms of the paper.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Backend(StrEnum):
    LOCAL = "local"
    DOCKER = "docker"
    JUPYTER = "jupyter"


Corpus = Annotated[Path, typer.Option(help="Folder of programs with a manifest.")]
Backends = Annotated[list[Backend], typer.Option("--backend", help="May be given several times.")]
Rates = Annotated[list[float] | None, typer.Option("--tps", min=1, help="Tokens per second; several times.")]
Only = Annotated[list[str] | None, typer.Option("--program", help="Only these programs; several times.")]
Repeats = Annotated[int | None, typer.Option(min=1, help="Runs of each program; the median counts.")]
TtftMs = Annotated[float, typer.Option(min=0, help="Time to the first token.")]
Fast = Annotated[bool, typer.Option("--fast", help="A sample that ends within five minutes.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the results; default loadtests/results/.")]
Publish = Annotated[Path | None, typer.Option(help="Document to write the report into, such as docs/evaluation.md.")]

DEFAULT_BACKENDS: Final = [Backend.LOCAL, Backend.DOCKER]


def main(arguments: Sequence[str] | None = None) -> None:
    """Without arguments, those of the process."""
    from loadtests.processes import ServerFailed

    try:
        bench(args=arguments, prog_name="eager bench")
    except ServerFailed as failure:
        sys.exit(f"eager bench: {failure}")


@bench.command()
def replay(
    corpus: Corpus = OWN_CORPUS,
    backend: Backends = DEFAULT_BACKENDS,
    tps: Rates = None,
    program: Only = None,
    repeats: Repeats = None,
    ttft_ms: TtftMs = 0,
    fast: Fast = False,
    out: Out = None,
    publish: Publish = None,
) -> None:
    """NEL and E2EL saved over a corpus (the paper's Table 1). Goes on where it was stopped."""
    from loadtests.reports import replay_report

    programs = [found for found in _programs(corpus, program) if found.kind == "ok"]
    folder = out or RESULTS / ("replay-fast" if fast else "replay")
    measurements, remarks = _evaluate(
        programs=sample(programs, 1) if fast and not program else programs,
        corpus=corpus,
        backends=backend,
        rates=tps or ([100, 200] if fast else [20, 50, 100, 200]),
        modes=MODES,
        repeats=repeats or (1 if fast else 3),
        ttft_ms=ttft_ms,
        fast=fast,
        folder=folder,
    )
    _finish(replay_report(measurements, folder, remarks), folder, publish)


@bench.command()
def errors(
    corpus: Corpus = OWN_CORPUS,
    backend: Backends = DEFAULT_BACKENDS,
    tps: Rates = None,
    program: Only = None,
    repeats: Repeats = None,
    ttft_ms: TtftMs = 0,
    fast: Fast = False,
    out: Out = None,
    publish: Publish = None,
) -> None:
    """E2EL and tokens saved by stopping a model whose code has failed. Goes on where it was stopped."""
    from loadtests.reports import errors_report

    programs = [found for found in _programs(corpus, program) if found.kind == "error"]
    folder = out or RESULTS / ("errors-fast" if fast else "errors")
    measurements, remarks = _evaluate(
        programs=sample(programs, 2) if fast and not program else programs,
        corpus=corpus,
        backends=backend,
        rates=tps or ([100] if fast else [20, 50, 100, 200]),
        modes=("warm", "eager"),
        repeats=repeats or (1 if fast else 3),
        ttft_ms=ttft_ms,
        fast=fast,
        folder=folder,
    )
    _finish(errors_report(measurements, remarks), folder, publish)


@bench.command()
def gateway(
    backend: Backends = DEFAULT_BACKENDS,
    streams: Annotated[list[int] | None, typer.Option(min=1, max=512, help="Streams at once; several times.")] = None,
    code_streams: Annotated[int, typer.Option(min=1, help="Most streams with a sandbox each.")] = 64,
    tps: Annotated[float, typer.Option(min=1, help="Tokens per second of each stream.")] = 50,
    seconds: Annotated[float | None, typer.Option(min=1, help="Length of a stream.")] = None,
    litellm: Annotated[Path | None, typer.Option(help="LiteLLM's command, in a venv of its own.")] = None,
    fast: Fast = False,
    out: Out = None,
    publish: Publish = None,
) -> None:
    """CPU and latency per token under load, beside other proxies; what sandboxes cost."""
    from rich.console import Console

    from loadtests.gateway_cost import LITELLM, Plan, measure_gateway
    from loadtests.gateway_report import gateway_report

    plan = Plan(
        backends=[name.value for name in backend],
        streams=streams or ([1, 16, 64] if fast else [1, 8, 64, 256, 512]),
        code_streams=code_streams,
        tps=tps,
        seconds=seconds or (3 if fast else 10),
        dispatches=50 if fast else 200,
        litellm=litellm or LITELLM,
    )
    folder = out or RESULTS / ("gateway-fast" if fast else "gateway")
    _finish(gateway_report(asyncio.run(measure_gateway(plan, Console(stderr=True)))), folder, publish)


@bench.command()
def live(
    upstream: Annotated[str, typer.Option(envvar="EAGER_BENCH_UPSTREAM", help="Base URL, with its /v1.")],
    model: Annotated[str, typer.Option(envvar="EAGER_BENCH_MODEL", help="Name of the model.")],
    corpus: Corpus = OWN_CORPUS,
    backend: Backends = DEFAULT_BACKENDS,
    program: Only = None,
    fast: Fast = False,
    out: Out = None,
    publish: Publish = None,
) -> None:
    """The tasks of a corpus as prompts to a real model. Costs tokens. Its key comes from EAGER_BENCH_KEY only, so that
    no report can quote it."""
    from rich.console import Console

    from loadtests.live import live_report, measure_live

    programs = _programs(corpus, program)
    programs = sample(programs, 1) if fast and not program else programs
    backends = [name.value for name in backend]
    key = os.environ.get("EAGER_BENCH_KEY", "")
    answers, failures = asyncio.run(measure_live(upstream, key, model, programs, backends, Console(stderr=True)))
    _finish(live_report(model, answers, failures), out or RESULTS / "live", publish)


def _programs(corpus: Path, only: Sequence[str] | None) -> list[Program]:
    try:
        programs = read_corpus(corpus)
    except (OSError, msgspec.DecodeError) as error:
        raise typer.BadParameter(f"{corpus} is no corpus: {error}") from None
    chosen = [program for program in programs if only is None or program.id in only]
    if only is not None and len(chosen) < len(only):
        raise typer.BadParameter(f"not in {corpus}: {', '.join(set(only) - {program.id for program in chosen})}")
    return chosen


def _evaluate(
    *,
    programs: Sequence[Program],
    corpus: Path,
    backends: Sequence[Backend],
    rates: Sequence[float],
    modes: Sequence[Mode],
    repeats: int,
    ttft_ms: float,
    fast: bool,
    folder: Path,
) -> tuple[list[Measurement], list[str]]:
    """Interrupted by the user, it reports what it has."""
    from loadtests.evaluation import Plan, evaluate
    from loadtests.provenance import commit
    from loadtests.store import Conditions, ResultStore

    conditions = Conditions(commit=commit(), corpus=corpus.resolve().name, ttft_ms=ttft_ms)
    store = ResultStore(folder / "raw.jsonl", conditions)
    plan = Plan(
        corpus=corpus,
        programs=programs,
        backends=[backend.value for backend in backends],
        rates=rates,
        modes=modes,
        repeats=repeats,
        ttft_ms=ttft_ms,
        limit_s=FAST_LIMIT_S if fast else None,
    )
    try:
        remarks = asyncio.run(evaluate(plan, store))
    except KeyboardInterrupt:
        remarks = ["stopped by the user; the same command goes on from here"]
    return store.measurements, remarks


def _finish(report: Report, folder: Path, publish: Path | None) -> None:
    markdown = write(report, folder, publish)
    typer.echo(markdown.read_text())
    typer.echo(f"Written: {markdown}{f', {publish}' if publish else ''}")
