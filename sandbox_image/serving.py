"""Supervisor. What the first process of a sandbox does, whether it was started for it or forked of a zygote: it
imports, supervises, and its forks become interpreters."""

from __future__ import annotations

import importlib
import mmap
import os
import shutil
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sandbox_image import egress, first_uses, own_pages, pip_command, preload, process
from sandbox_image.loop import InterpreterBroken, Supervisor
from sandbox_image.outlet import StreamEnded
from sandbox_image.protocol import ProtocolError
from sandbox_image.work_folder import WorkFolder

_FAILED: Final = 1
_GATEWAY_BROKE_PROTOCOL: Final = 4
_INTERPRETER_BROKEN: Final = 5
#: Of an interpreter that failed by itself, which it must not.
_INTERPRETER_FAILED: Final = 70
#: The interpreter's life, as ``bare_stack`` drives it.
_Steps = Callable[[socket.socket, mmap.mmap, own_pages.PageRanges], Iterator[object]]
#: Supervisors that this process, or the one it was forked of, has been. Collected in an interpreter they would close
#: descriptors by numbers that have become others.
_kept: list[Supervisor] = []


@dataclass(frozen=True, slots=True)
class Preloaded:
    """What interpreters are made of. ``pages``: those that programs usually write to."""

    steps: _Steps
    pages: own_pages.PageRanges


def preload_all(
    modules: str,
    workdir: str,
    *,
    with_egress: bool,
    pip_index: str | None = None,
    say_step: Callable[[str], None] = lambda step: None,
    most_pages: int = own_pages.MAX_PAGES,
) -> Preloaded:
    """Import everything that user code may see, with the environment of user code.

    Args:
        modules: names with commas between them.
        pip_index: URL of the package index that user code may install from.
        say_step: is told what comes next.
        most_pages: of those that programs write to, for each interpreter.
    """
    preload.set_environment(workdir)
    if with_egress:
        os.environ.update(egress.ENVIRONMENT)
    if pip_index is not None:
        os.environ.update(pip_command.environment(pip_index, tempfile.gettempdir(), os.environ["PATH"]))
    steps: _Steps = importlib.import_module("sandbox_image.interpreter").steps
    notes = []
    for name in filter(None, modules.split(",")):
        say_step(f"import {name}")
        notes += preload.import_modules([name])
    say_step("first uses")
    notes += first_uses.warm_up()
    for note in notes:
        say(note)
    preload.freeze()
    if sys.path[0] == os.path.dirname(os.path.dirname(os.path.abspath(__file__))):
        del sys.path[0]  # only the package was to be found there, and it is found from now on
    say_step("pages")
    return Preloaded(steps, own_pages.learn(first_uses.again(), most_pages))


def supervise(stream_fd: int, workdir: str, uid: int | None, write_fd: int | None = None) -> Supervisor:
    """A supervisor of the gateway at ``stream_fd``, which it takes.

    Raises:
        OSError: there is no such work folder, or no descriptor is left.
    """
    folder = WorkFolder(workdir, uid)
    process.protect_supervisor()
    read_fd = os.dup(stream_fd)
    write_fd = os.dup(stream_fd) if write_fd is None else write_fd
    os.close(stream_fd)
    for fd in (read_fd, write_fd):
        os.set_blocking(fd, False)
    supervisor = Supervisor(
        read_fd=read_fd,
        write_fd=write_fd,
        folder=folder,
        workdir=workdir,
        languages=["python", "bash"] if shutil.which("bash") else ["python"],
        uid=uid,
    )
    _kept.append(supervisor)
    return supervisor


def run(supervisor: Supervisor, preloaded: Preloaded, workdir: str, uid: int | None) -> Iterator[object]:
    """Supervise to the end of the process. It returns in interpreters only: their life, for ``descend``."""
    try:
        lines = supervisor.run()
    except StreamEnded:
        status = 0
    except ProtocolError as error:
        status = _GATEWAY_BROKE_PROTOCOL
        say(f"the gateway broke the protocol: {error}")
    except InterpreterBroken as error:
        status = _INTERPRETER_BROKEN
        say(f"no interpreter stays alive: {error}")
    except BaseException:
        status = _FAILED
        traceback.print_exc()
    else:
        return _live(lines, preloaded, workdir, uid)
    process.kill_everything()
    os._exit(status)


def _live(lines: process.Lines, preloaded: Preloaded, workdir: str, uid: int | None) -> Iterator[object]:
    """In the forked child. What was the supervisor's is not cleaned up: descriptors it would close are others now."""
    try:
        yield from preloaded.steps(process.become_interpreter(lines, workdir, uid), lines.progress, preloaded.pages)
    except BaseException:
        traceback.print_exc()
        os._exit(_INTERPRETER_FAILED)


def say(text: str) -> None:
    print(f"sandbox supervisor: {text}", file=sys.stderr, flush=True)
