"""The console script ``eager``. What a command needs is imported inside it, so that ``eager --help`` is fast."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.sandbox.library_sets import EXTRA_REQUIREMENTS, LibrarySet

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.config import Settings

cli = typer.Typer(
    name="eager",
    help="Runs an LLM's Python while the model is still writing it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
sandbox = typer.Typer(help="The embedded sandbox.", no_args_is_help=True)
image = typer.Typer(help="The Docker image of the sandboxes.", no_args_is_help=True)
db = typer.Typer(help="The database of what outlives the process.", no_args_is_help=True)
cli.add_typer(db, name="db")
cli.add_typer(sandbox, name="sandbox")
cli.add_typer(image, name="image")

#: At debug level these loggers write keys of clients (the headers of a WebSocket) and prompts (rows of the database).
LOGGERS_OF_SECRETS = ("uvicorn.error", "aiosqlite")

HostOption = Annotated[str, typer.Option(help="Address to listen on.")]
Fd = Annotated[int | None, typer.Option(hidden=True, help="A listening socket to use instead of host and port.")]
Tps = Annotated[float, typer.Option(min=0, help="Tokens per second; 0 is as fast as possible.")]
Extra = Annotated[
    Path, typer.Option("--requirements", help="File of libraries to install besides the set's.", exists=True)
]
TtftMs = Annotated[float, typer.Option(min=0, help="Time to the first token.")]


def main() -> None:
    """Entry point: user mistakes end in one line on stderr, not in a traceback."""
    try:
        cli()
    except KeyboardInterrupt:
        sys.exit(130)


def _show_version(wanted: bool) -> None:
    from importlib.metadata import version

    if wanted:
        typer.echo(f"eager {version('eager')}")
        raise typer.Exit


@cli.callback()
def whole(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version, and end.")
    ] = False,
) -> None:
    """What comes before a command."""


@cli.command()
def serve(
    host: HostOption = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    fd: Fd = None,
) -> None:
    """Run the gateway. Settings come from the environment (EAGER_...)."""
    from app.api.edge.origins import is_loopback
    from app.config import unknown_variables

    settings = _settings()
    if fd is None and settings.is_open and not is_loopback(host):
        _fail(f"without EAGER_API_KEYS the gateway is open, so it listens on loopback only, not on {host}")
    if settings.is_open and "*" in settings.cors_origins:
        _fail("without EAGER_API_KEYS the gateway is open: with EAGER_CORS_ORIGINS=* any web page could run code here")
    _log_requests(settings.log_level.upper())
    if unknown := unknown_variables(os.environ):
        logging.getLogger(__name__).warning("not settings, and ignored: %s", ", ".join(unknown))
    if settings.log_level == "debug":
        for name in LOGGERS_OF_SECRETS:
            logging.getLogger(name).setLevel(logging.INFO)
    from app.main import create_app

    _run_server(create_app(settings), host, port, fd)


@cli.command()
def upstream(
    host: HostOption = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8001,
    tps: Tps = 50,
    ttft_ms: TtftMs = 200,
    chars_per_token: Annotated[int, typer.Option(min=1)] = 4,
    corpus: Annotated[Path | None, typer.Option(help="Folder of programs (NAME.py, or programs/NAME.py).")] = None,
    fd: Fd = None,
) -> None:
    """Run an OpenAI-compatible server that replays programs at a set pace."""
    from app.replay.catalog import built_in_programs, read_programs
    from app.replay.server import create_app

    programs = built_in_programs()
    if corpus is not None:
        try:
            programs |= read_programs(corpus)
        except (OSError, ValueError) as error:
            _fail(str(error))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    _run_server(create_app(programs, tps=tps, ttft_ms=ttft_ms, chars_per_token=chars_per_token), host, port, fd)


@cli.command()
def demo(
    prompt: Annotated[
        str, typer.Option(help="What to ask; a ```python block in it is what the model writes.")
    ] = "Show me five small experiments.",
    program: Annotated[str | None, typer.Option(help="A built-in program instead: see app/replay/programs.")] = None,
    tps: Annotated[float, typer.Option(min=1, help="Tokens per second.")] = 80,
    ttft_ms: TtftMs = 300,
    mode: Annotated[str, typer.Option(help="eager or serial.")] = "eager",
    compare: Annotated[bool, typer.Option(help="Run it serially too, and compare.")] = True,
) -> None:
    """Show a program being run while it is written: upstream, gateway and sandbox in one command."""
    import asyncio

    from rich.console import Console

    from app.demo.processes import ServerFailed
    from app.demo.run import Demo, Mode, run_demo
    from app.replay.catalog import DEFAULT_PROGRAM, built_in_programs

    programs = built_in_programs()
    if program is not None and program not in programs:
        _fail(f"no program {program!r}; there are {', '.join(programs)}")
    if mode not in ("eager", "serial"):
        _fail(f"--mode is eager or serial, not {mode!r}")
    modes: list[Mode] = ["serial"] if mode == "serial" else ["eager", "serial"] if compare else ["eager"]
    generation_ms = ttft_ms + len(programs[program or DEFAULT_PROGRAM]) / 4 / tps * 1000
    shown = Demo(
        model=program or "replay",
        prompt=prompt,
        tps=tps,
        ttft_ms=ttft_ms,
        modes=modes,
        # Room for what a serial run needs after the last token.
        scale_ms=1.4 * generation_ms,
    )
    try:
        succeeded = asyncio.run(run_demo(shown, Console()))
    except ServerFailed as error:
        _fail(str(error))
    raise typer.Exit(0 if succeeded else 1)


@cli.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def bench(context: typer.Context) -> None:
    """Measure this machine in the paper's terms, from a checkout of the project: see `eager bench --help`."""
    from loadtests.corpus import OWN_CORPUS

    if not OWN_CORPUS.is_dir():
        _fail("`eager bench` needs a checkout of the project: its programs are not in the installed package")
    from loadtests.cli import main as run_bench

    run_bench(context.args)


@sandbox.command("install")
def sandbox_install(
    folder: Annotated[Path | None, typer.Option(help="Where; default EAGER_SANDBOX_ENV.")] = None,
    python: Annotated[
        Path | None, typer.Option(help="What to make it of; default this Python or a faster build.")
    ] = None,
    library_set: Annotated[LibrarySet, typer.Option("--set", help="Which libraries.")] = LibrarySet.CORE,
    requirements: Extra = EXTRA_REQUIREMENTS,
) -> None:
    """Make the Python environment that code in the embedded sandbox sees."""
    import subprocess

    from app.errors import SandboxError
    from app.sandbox.local.environment import create_environment

    folder = folder or _settings().sandbox_env
    try:
        environment = create_environment(folder, library_set.lock, extra_requirements=requirements, python=python)
    except subprocess.CalledProcessError as error:
        _fail(f"a step failed: {' '.join(map(str, error.cmd))}")
    except (OSError, SandboxError) as error:
        _fail(str(error))
    typer.echo(f"Python {'.'.join(map(str, environment.version))} for sandboxes: {environment.python}")


@image.command("build")
def image_build(
    tag: Annotated[list[str] | None, typer.Option(help="Name of the image; default EAGER_DOCKER_IMAGE.")] = None,
    base_image: Annotated[str | None, typer.Option(help="Instead of the Dockerfile's own.")] = None,
    library_set: Annotated[LibrarySet, typer.Option("--set", help="Which libraries.")] = LibrarySet.FULL,
    requirements: Extra = EXTRA_REQUIREMENTS,
) -> None:
    """Build the image that Docker sandboxes run, on the engines of EAGER_DOCKER_HOST."""
    from app.errors import SandboxError
    from app.sandbox.docker.image import build

    settings = _settings()
    tags = tag or [settings.docker_image]
    try:
        for engine in settings.docker_host or (None,):
            built = build(
                tags,
                library_set=library_set,
                base_image=base_image,
                extra_requirements=requirements,
                engine=engine,
                log=typer.echo,
            )
            typer.echo(f"{', '.join(tags)}: {built}{f' on {engine}' if engine else ''}")
    except (OSError, SandboxError) as error:
        _fail(str(error))


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the database of EAGER_DATABASE_URL, or EAGER_DATA_DIR, up to this release's version.

    The gateway does so itself when it starts; gateways of the release before have to be stopped first.
    """
    import asyncio

    from sqlalchemy.exc import SQLAlchemyError

    from app.store.database import upgrade_store

    settings = _settings()
    try:
        upgrade = asyncio.run(upgrade_store(settings.database))
    except (OSError, ValueError, ImportError, SQLAlchemyError) as error:
        _fail(f"{settings.database_setting}: {getattr(error, 'orig', None) or error}")
    if upgrade is None:
        typer.echo("The database is up to date.")
    elif upgrade.before is None:
        typer.echo(f"The database was new: it has version {upgrade.after}.")
    else:
        typer.echo(f"The database has been upgraded from version {upgrade.before} to {upgrade.after}.")


def _log_requests(level: str) -> None:
    """Each line names the request that it is about."""
    from app.api.edge.request_id import OneLineFormatter, RequestIdFilter

    handler = logging.StreamHandler()
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(OneLineFormatter("%(asctime)s %(levelname)s %(name)s [%(request)s]: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


def _settings() -> Settings:
    from pydantic import ValidationError

    from app.config import Settings

    try:
        return Settings()
    except ValidationError as error:
        wrong = [f"EAGER_{str(line['loc'][0]).upper()}: {line['msg']}" for line in error.errors()]
        _fail("\n".join(wrong))


def _run_server(app: FastAPI, host: str, port: int, fd: int | None) -> None:
    from app.serving import run_server

    if not run_server(app, host, port, fd):
        raise typer.Exit(1)


def _fail(message: str) -> NoReturn:
    typer.echo(f"eager: {message}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    main()
