"""Supervisor. The first process of a sandbox, started by path or as a module:

    python -I /opt/eager/sandbox_image/supervisor.py --fd 3 --workdir /mnt/data --preload numpy,pandas
    python -I -m sandbox_image.supervisor --stdio

It prepares everything that interpreters share and then hands over to loop.py.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from functools import partial
from typing import Final, NoReturn

if not __package__:  # run by path: the folder of our package has to be named
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from sandbox_image import egress, serving
from sandbox_image.bare_stack import descend
from sandbox_image.protocol import CONTROL, WORK_FOLDER, encode_message

_CANNOT_START: Final = 3


def main(arguments: list[str] | None = None) -> NoReturn:
    """Never returns: the process ends here, be it the supervisor or one of its interpreters."""
    options = _parse(arguments)
    try:
        _fill_standard_descriptors()
        read_fd, write_fd = _open_stream(options)
        os.umask(0o022)
        preloaded = serving.preload_all(
            options.preload,
            options.workdir,
            with_egress=options.egress,
            pip_index=options.pip_index,
            say_step=partial(_say_step, write_fd),
        )
        supervisor = serving.supervise(read_fd, options.workdir, options.uid, write_fd)
    except OSError as error:
        serving.say(f"cannot start: {error}")
        sys.exit(_CANNOT_START)
    descend(serving.run(supervisor, preloaded, options.workdir, options.uid))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="supervisor", description="First process of a sandbox.")
    stream = parser.add_mutually_exclusive_group(required=True)
    stream.add_argument("--fd", type=int, help="inherited socket to the gateway")
    stream.add_argument("--stdio", action="store_true", help="the gateway is at standard input and output")
    stream.add_argument("--connect", metavar="PATH", help="Unix socket the gateway listens on")
    parser.add_argument("--workdir", default=WORK_FOLDER, help="folder of the user's files (%(default)s)")
    parser.add_argument("--preload", default="", metavar="MODULES", help="libraries to import before the first fork")
    parser.add_argument("--egress", action="store_true", help="give the gateway a way out to serve; not with --stdio")
    parser.add_argument("--pip-index", metavar="URL", help="package index that user code may install from")
    parser.add_argument("--uid", type=int, help="uid and gid of user code, if not ours (needs root)")
    return parser.parse_args(arguments)


def _fill_standard_descriptors() -> None:
    """Nothing of ours may get the numbers 0 to 2, which the interpreter replaces."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def _open_stream(options: argparse.Namespace) -> tuple[int, int]:
    """Two descriptors of the gateway."""
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
        read_fd, write_fd = given, os.dup(given)
    return read_fd, write_fd


def _say_step(write_fd: int, step: str) -> None:
    frame = encode_message(CONTROL, {"t": "step", "what": step})
    while frame:
        frame = frame[os.write(write_fd, frame) :]


def _connect(path: str) -> int:
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(path)
    return stream.detach()


if __name__ == "__main__":
    main()
