"""Supervisor. The first process of a sandbox, started by path or as a module:

    python -I /opt/eager/sandbox_image/supervisor.py --fd 3 --workdir /mnt/data --preload numpy,pandas
    python -I -m sandbox_image.supervisor --stdio

It prepares everything that interpreters share (the zygote) and then hands over to loop.py.
"""

# ruff: noqa: E402 - our own modules can be imported only after the path is right
from __future__ import annotations

import argparse
import importlib
import mmap
import os
import shutil
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

#: Run by path: the folder of our package has to be named.
_BY_PATH: Final = not __package__
if _BY_PATH:
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from sandbox_image import egress, first_uses, own_pages, preload, process
from sandbox_image.bare_stack import descend
from sandbox_image.loop import InterpreterBroken, Supervisor
from sandbox_image.outlet import StreamEnded
from sandbox_image.process import Lines
from sandbox_image.protocol import WORK_FOLDER, ProtocolError
from sandbox_image.work_folder import WorkFolder

_FAILED: Final = 1
_CANNOT_START: Final = 3
_GATEWAY_BROKE_PROTOCOL: Final = 4
_INTERPRETER_BROKEN: Final = 5
#: Of an interpreter that failed by itself, which it must not.
_INTERPRETER_FAILED: Final = 70
#: The interpreter's life, as ``bare_stack`` drives it.
Steps = Callable[[socket.socket, mmap.mmap, own_pages.PageRanges], Iterator[object]]


def main(arguments: list[str] | None = None) -> NoReturn:
    """Never returns: the process ends here, be it the supervisor or one of its interpreters."""
    options = _parse(arguments)
    try:
        _fill_standard_descriptors()
        read_fd, write_fd = _open_stream(options)
        os.umask(0o022)
        folder = WorkFolder(options.workdir, options.uid)
        steps = _make_zygote(options)
        pages = own_pages.learn(first_uses.use_again) if options.preload else ()
        supervisor = _start(options, folder, read_fd, write_fd)
    except OSError as error:
        _say(f"cannot start: {error}")
        sys.exit(_CANNOT_START)
    try:
        lines = supervisor.run()
    except StreamEnded:
        status = 0
    except ProtocolError as error:
        status = _GATEWAY_BROKE_PROTOCOL
        _say(f"the gateway broke the protocol: {error}")
    except InterpreterBroken as error:
        status = _INTERPRETER_BROKEN
        _say(f"no interpreter stays alive: {error}")
    except BaseException:
        status = _FAILED
        traceback.print_exc()
    else:  # in an interpreter
        descend(_live(lines, steps, pages, options))
    process.kill_everything()
    os._exit(status)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="supervisor", description="First process of a sandbox.")
    stream = parser.add_mutually_exclusive_group(required=True)
    stream.add_argument("--fd", type=int, help="inherited socket to the gateway")
    stream.add_argument("--stdio", action="store_true", help="the gateway is at standard input and output")
    stream.add_argument("--connect", metavar="PATH", help="Unix socket the gateway listens on")
    parser.add_argument("--workdir", default=WORK_FOLDER, help="folder of the user's files (%(default)s)")
    parser.add_argument("--preload", default="", metavar="MODULES", help="libraries to import before the first fork")
    parser.add_argument("--egress", action="store_true", help="give the gateway a way out to serve; not with --stdio")
    parser.add_argument("--uid", type=int, help="uid and gid of user code, if not ours (needs root)")
    return parser.parse_args(arguments)


def _make_zygote(options: argparse.Namespace) -> Steps:
    """Import everything that user code may see, with the environment of user code."""
    preload.set_environment(options.workdir)
    if options.egress:
        os.environ.update(egress.ENVIRONMENT)
    steps: Steps = importlib.import_module("sandbox_image.interpreter").steps
    for note in [*preload.import_modules([name for name in options.preload.split(",") if name]), *first_uses.warm_up()]:
        _say(note)
    preload.freeze()
    if _BY_PATH:  # only the package was to be found there, and it is found from now on
        del sys.path[0]
    return steps


def _start(options: argparse.Namespace, folder: WorkFolder, read_fd: int, write_fd: int) -> Supervisor:
    process.protect_supervisor()
    return Supervisor(
        read_fd=read_fd,
        write_fd=write_fd,
        folder=folder,
        workdir=options.workdir,
        languages=["python", "bash"] if shutil.which("bash") else ["python"],
        uid=options.uid,
    )


def _fill_standard_descriptors() -> None:
    """Nothing of ours may get the numbers 0 to 2, which the interpreter replaces."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def _open_stream(options: argparse.Namespace) -> tuple[int, int]:
    """Two descriptors of the gateway, closed in every other program."""
    if options.stdio:
        read_fd, write_fd = os.dup(0), os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1):  # what we have to say goes to the container's stderr
            os.dup2(null, fd)
        os.close(null)
    else:
        given = options.fd if options.connect is None else _connect(options.connect)
        if options.egress:
            egress.hand_over(given)
        read_fd, write_fd = os.dup(given), os.dup(given)
        os.close(given)
    for fd in (read_fd, write_fd):
        os.set_blocking(fd, False)
    return read_fd, write_fd


def _connect(path: str) -> int:
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(path)
    return stream.detach()


def _live(lines: Lines, steps: Steps, pages: own_pages.PageRanges, options: argparse.Namespace) -> Iterator[object]:
    """In the forked child. What was the supervisor's is not cleaned up: descriptors it would close are others now."""
    try:
        yield from steps(process.become_interpreter(lines, options.workdir, options.uid), lines.progress, pages)
    except BaseException:
        traceback.print_exc()
        os._exit(_INTERPRETER_FAILED)


def _say(text: str) -> None:
    print(f"sandbox supervisor: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
