"""``eager bench``: what each evaluation runs, where its results go."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import typer

from loadtests.corpus import OWN_CORPUS, Program, read_corpus, sample
from loadtests.load import FLOOD_TPS
from loadtests.report import RESULTS, Report, write
from loadtests.report import publish as publish_section
from loadtests.stages import (
    ALL,
    Choice,
    Evaluation,
    evaluate_stage,
    gateway_stage,
    measure_all,
    peers_stage,
    repair_stage,
    stage_folder,
)

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


class Hint(StrEnum):
    ON = "on"
    OFF = "off"


Corpus = Annotated[Path, typer.Option(help="Folder of programs with a manifest.")]
Backends = Annotated[list[Backend], typer.Option("--backend", help="May be given several times.")]
Rates = Annotated[list[float] | None, typer.Option("--tps", min=1, help="Tokens per second; several times.")]
Only = Annotated[list[str] | None, typer.Option("--program", help="Only these programs; several times.")]
Repeats = Annotated[int | None, typer.Option(min=1, help="Runs of each program; the median counts.")]
TtftMs = Annotated[float, typer.Option(min=0, help="Time to the first token.")]
Jobs = Annotated[
    int, typer.Option(min=1, help="Programs side by side; execution behind the last token never competes.")
]
SerialOnce = Annotated[
    bool, typer.Option("--serial-once", help="Serial runs at the highest rate only: they do not know the rate.")
]
Minutes = Annotated[float | None, typer.Option(min=1, help="End after that long; the same command goes on.")]
Hints = Annotated[list[Hint], typer.Option("--hint", help="Tell the model how to write code that runs early, or not.")]
Fast = Annotated[bool, typer.Option("--fast", help="A sample that ends within five minutes.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the results; default loadtests/results/.")]
Publish = Annotated[Path | None, typer.Option(help="Document to write the report into, such as docs/evaluation.md.")]
Quote = Annotated[Path | None, typer.Option(help="Document to write a few figures into, such as README.md.")]
Upstream = Annotated[str | None, typer.Option(envvar="EAGER_BENCH_UPSTREAM", help="Base URL, with its /v1.")]
Model = Annotated[str | None, typer.Option(envvar="EAGER_BENCH_MODEL", help="Name of the model.")]

DEFAULT_BACKENDS: Final = [Backend.LOCAL, Backend.DOCKER]


def main(arguments: Sequence[str] | None = None) -> None:
    """Without arguments, those of the process."""
    from loadtests.installs import InstallFailed
    from loadtests.processes import ServerFailed

    try:
        bench(args=arguments, prog_name="eager bench")
    except (ServerFailed, InstallFailed) as failure:
        sys.exit(f"eager bench: {failure}")


def _evaluation_command(name: Evaluation, help: str) -> None:
    """Replay and errors differ in what they run and tell, not in what can be chosen."""

    @bench.command(name, help=help)
    def command(
        corpus: Corpus = OWN_CORPUS,
        backend: Backends = DEFAULT_BACKENDS,
        tps: Rates = None,
        program: Only = None,
        repeats: Repeats = None,
        ttft_ms: TtftMs = 0,
        jobs: Jobs = 1,
        serial_once: SerialOnce = False,
        minutes: Minutes = None,
        fast: Fast = False,
        out: Out = None,
        publish: Publish = None,
    ) -> None:
        folder = out or stage_folder(f"{name}-fast" if fast else name)
        choice = Choice(
            corpus=corpus,
            programs=_programs(corpus, program, "ok" if name == "replay" else "error"),
            sampled=fast and program is None,
            backends=_names(backend),
            rates=tps,
            repeats=repeats,
            ttft_ms=ttft_ms,
            lanes=jobs,
            serial_once=serial_once,
            minutes=minutes,
            fast=fast,
        )
        _finish(evaluate_stage(name, choice, folder), folder, publish)


_evaluation_command("replay", "NEL and E2EL saved over a corpus (the paper's Table 1). Goes on where it was stopped.")
_evaluation_command(
    "errors", "E2EL and tokens saved by stopping a model whose code has failed. Goes on where it was stopped."
)


@bench.command()
def gateway(
    backend: Backends = DEFAULT_BACKENDS,
    streams: Annotated[list[int] | None, typer.Option(min=1, max=512, help="Streams at once; several times.")] = None,
    code_streams: Annotated[int, typer.Option(min=1, help="Most streams with a sandbox each.")] = 64,
    tps: Annotated[float, typer.Option(min=1, help="Tokens per second of each stream.")] = 50,
    flood_tps: Annotated[
        float | None,
        typer.Option(min=1, help=f"Rate at which the most streams are sent once more; by default {FLOOD_TPS:g}."),
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="Length of a stream.")] = None,
    repeats: Repeats = None,
    fast: Fast = False,
    out: Out = None,
    publish: Publish = None,
) -> None:
    """CPU and latency per token under load, beside other proxies, and by the length of the program; what sandboxes
    cost."""
    report = gateway_stage(
        backends=_names(backend),
        streams=streams or ([1, 16, 64] if fast else [1, 8, 64, 256, 512]),
        code_streams=code_streams,
        tps=tps,
        flood_tps=flood_tps or (None if fast else FLOOD_TPS),
        seconds=seconds or (3 if fast else 8),
        repeats=repeats or (1 if fast else 3),
        dispatches=50 if fast else 200,
        fast=fast,
    )
    _finish(report, out or stage_folder("gateway-fast" if fast else "gateway"), publish)


@bench.command()
def peers(
    backend: Annotated[Backend, typer.Option(help="Where our side runs code.")] = Backend.LOCAL,
    tps: Rates = None,
    repeats: Repeats = None,
    fast: Fast = False,
    out: Out = None,
    publish: Publish = None,
) -> None:
    """Beside other executors of code that is still being written (`eager bench install peers` first)."""
    report = peers_stage(tps or ([100] if fast else [50, 100, 200]), repeats or (1 if fast else 3), backend.value)
    _finish(report, out or stage_folder("peers"), publish)


@bench.command()
def repair(
    corpus: Corpus = OWN_CORPUS,
    backend: Backends = DEFAULT_BACKENDS,
    program: Only = None,
    repeats: Repeats = None,
    tps: Annotated[float, typer.Option(min=1, help="Pace of the scripted model.")] = 100,
    upstream: Upstream = None,
    model: Model = None,
    fast: Fast = False,
    out: Out = None,
    publish: Publish = None,
) -> None:
    """Repair from partial against from full code: by a scripted model, or by a real one, which costs tokens. Its key
    comes from EAGER_BENCH_KEY only, so that no report can quote it."""
    from loadtests.repair import Plan

    if (upstream is None) != (model is None):
        raise typer.BadParameter("--upstream and --model go together")
    programs = [found for found in _programs(corpus, program) if upstream is not None or found.kind == "error"]
    plan = Plan(
        corpus=corpus,
        programs=sample(programs, 1) if fast and program is None else programs,
        backends=_names(backend),
        repeats=repeats or (1 if fast else 3),
        tps=tps,
        upstream=upstream,
        model=model,
        key=os.environ.get("EAGER_BENCH_KEY", ""),
    )
    _finish(repair_stage(plan), out or stage_folder("repair"), publish)


@bench.command()
def hostile(
    backend: Annotated[Backend, typer.Option(help="Where code runs.")] = Backend.LOCAL,
    minutes: Annotated[float, typer.Option(min=0, help="Of three tenants beside a hostile one; 0: none.")] = 5,
    out: Out = None,
    publish: Publish = None,
) -> None:
    """What clients, models and upstreams do to harm a gateway, how it does meanwhile, and what other tenants notice."""
    from rich.console import Console

    from loadtests.hostile import hostile_report, measure_hostile
    from loadtests.tenants import measure_tenants

    console = Console(stderr=True)
    rows = asyncio.run(measure_hostile(backend.value, console))
    tenants = asyncio.run(measure_tenants(backend.value, minutes * 60, console)) if minutes else []
    _finish(hostile_report(backend.value, rows, tenants), out or stage_folder("hostile"), publish)


@bench.command()
def live(
    upstream: Annotated[str, typer.Option(envvar="EAGER_BENCH_UPSTREAM", help="Base URL, with its /v1.")],
    model: Annotated[str, typer.Option(envvar="EAGER_BENCH_MODEL", help="Name of the model.")],
    corpus: Corpus = OWN_CORPUS,
    backend: Backends = DEFAULT_BACKENDS,
    program: Only = None,
    hint: Hints = [Hint.ON, Hint.OFF],  # noqa: B006  # typer copies it
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
    key = os.environ.get("EAGER_BENCH_KEY", "")
    hints: list[Literal["on", "off"]] = ["on" if wanted is Hint.ON else "off" for wanted in hint]
    console = Console(stderr=True)
    answers, failures = asyncio.run(measure_live(upstream, key, model, programs, _names(backend), hints, console))
    _finish(live_report(model, answers, failures), out or stage_folder("live"), publish)


@bench.command()
def install(
    name: Annotated[list[str] | None, typer.Argument(help="peers, litellm; default both.")] = None,
) -> None:
    """Install what is measured beside Eager, each into a virtual environment of its own under .eager/bench."""
    from loadtests.installs import INSTALLS
    from loadtests.installs import install as install_one

    for wanted in name or INSTALLS:
        if wanted not in INSTALLS:
            raise typer.BadParameter(f"{wanted!r} is not one of {', '.join(INSTALLS)}")
        install_one(INSTALLS[wanted], typer.echo)


@bench.command("all")
def everything(
    minutes: Annotated[float, typer.Option(min=5, help="What it may take in all.")] = 35,
    corpus: Corpus = OWN_CORPUS,
    backend: Backends = [*DEFAULT_BACKENDS, Backend.JUPYTER],  # noqa: B006  # typer copies it
    jobs: Jobs = 12,
    anew: Annotated[bool, typer.Option("--anew", help="Also what was measured at this commit.")] = False,
    out: Out = None,
    publish: Publish = None,
    quote: Quote = None,
) -> None:
    """Everything that needs no model and no key, within a time; then the figures to reach. Goes on where it was
    stopped."""
    programs = {kind: _programs(corpus, None, kind) for kind in ("ok", "error")}
    folder = out or RESULTS / "all"
    for report, place in measure_all(corpus, programs, _names(backend), jobs, minutes, folder, anew=anew):
        typer.echo(f"Written: {write(report, place)}")
    typer.echo((folder / "figures" / "report.md").read_text())
    if publish is not None:
        for name in ALL:
            publish_section(name, folder / name, publish)
    _quote(folder, quote)


@bench.command()
def figures(
    results: Annotated[Path, typer.Argument(help="Folder of the results of `all`.")] = RESULTS / "all",
    publish: Publish = None,
    quote: Quote = None,
) -> None:
    """The figures to reach, each with its target and what was measured, from results that are there."""
    from loadtests.figures import figures_report

    _finish(figures_report(results), results / "figures", publish)
    _quote(results, quote)


def _quote(results: Path, document: Path | None) -> None:
    from loadtests.headline import headline_report

    if document is not None:
        report = headline_report(results)
        write(report, results / report.name)
        publish_section(report.name, results / report.name, document)


def _names(backends: Sequence[Backend]) -> list[str]:
    return [backend.value for backend in backends]


def _programs(corpus: Path, only: Sequence[str] | None, kind: str | None = None) -> list[Program]:
    try:
        programs = read_corpus(corpus)
    except (OSError, msgspec.DecodeError) as error:
        raise typer.BadParameter(f"{corpus} is no corpus: {error}") from None
    chosen = [program for program in programs if only is None or program.id in only]
    if only is not None and len(chosen) < len(only):
        raise typer.BadParameter(f"not in {corpus}: {', '.join(set(only) - {program.id for program in chosen})}")
    return [program for program in chosen if kind in (None, program.kind)]


def _finish(report: Report, folder: Path, publish: Path | None) -> None:
    markdown = write(report, folder)
    if publish is not None:
        publish_section(report.name, folder, publish)
    typer.echo(markdown.read_text())
    typer.echo(f"Written: {markdown}{f', {publish}' if publish else ''}")
