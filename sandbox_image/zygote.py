"""Supervisor. One preloaded process, of which every sandbox of a gateway is a fork.

    gateway ── bwrap ─▶ ZYGOTE: process 1, one thread, a root to read from, capabilities over its own namespaces only
       │  {id, user} + [stderr, stream, counter, doors...] ─▶ unshare(pid) ─▶ fork ─▶ back to its own pid namespace
       ◀─ {id, error} + pidfd                                              └▶ seclusion.py ─▶ supervisor ─▶ interpreter

It reads nothing but the packets of its gateway. A packet has a number and a uid: what stands in this process is in
every sandbox that comes after. A sandbox that fails on its way says why on its stderr and ends. The end of the
gateway's socket ends the zygote and, for it is their process 1, all its sandboxes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

if not __package__:
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from sandbox_image import egress, own_pages, process, serving, system
from sandbox_image.bare_stack import descend
from sandbox_image.protocol import WORK_FOLDER
from sandbox_image.seclusion import COUNTER_FD, STREAM_FD, Template, seclude
from sandbox_image.serving import Preloaded, say

_CANNOT_START: Final = 3
_MAX_REQUEST_BYTES: Final = 4096
_MAX_FDS: Final = 8
#: stderr, stream, counter
_GIVEN: Final = 3
#: What libraries note in /tmp at their import, such as a list of fonts: programs that a program starts read it.
_NOTES: Final = Path("/tmp")  # noqa: S108 - of its own
_MAX_NOTES_BYTES: Final = 1 << 20


def main(arguments: list[str] | None = None) -> NoReturn:
    """Never returns: the process ends here, be it the zygote or whatever was forked of it."""
    options = _parse(arguments)
    os.umask(0o022)
    tell = _step_teller(options.fd)
    preloaded = serving.preload_all(
        options.preload,
        WORK_FOLDER,
        with_egress=options.egress,
        pip_index=options.pip_index,
        say_step=tell,
        most_pages=own_pages.MAX_PAGES_OF_FORK,
    )
    template = _template(options)
    threads = os.listdir("/proc/self/task")
    if len(threads) != 1:  # a fork would have a part of them only, and their locks
        say(f"cannot start: what was imported runs {len(threads)} threads")
        sys.exit(_CANNOT_START)
    system.set_dumpable(False)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries sandboxes by itself
    ForkServer(socket.socket(fileno=options.fd), template, preloaded, with_egress=options.egress).serve()


class ForkServer:
    """Forks until its gateway leaves."""

    def __init__(self, control: socket.socket, template: Template, preloaded: Preloaded, *, with_egress: bool) -> None:
        self._control = control
        self._template = template
        self._preloaded = preloaded
        self._with_egress = with_egress
        self._home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def serve(self) -> NoReturn:
        with contextlib.suppress(BrokenPipeError):
            self._control.send(json.dumps({"t": "ready"}).encode())
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._control, _MAX_REQUEST_BYTES, _MAX_FDS)
            except ConnectionResetError:  # the gateway left without reading all
                os._exit(0)
            if not data:
                os._exit(0)
            request: dict[str, Any] = json.loads(data)
            pid, error = self._fork()
            if pid == 0:
                break
            self._answer(request["id"], pid, error)
            for fd in fds:
                os.close(fd)
        # In the fork. Nothing of the above may catch what comes: ``descend`` leaves by an exception.
        self._control.detach()
        self._become_sandbox(request["user"], fds)

    def _fork(self) -> tuple[int | None, str | None]:
        """The first process of a new pid namespace. Ours is where the next one is made, hence the way back."""
        pid: int | None = None
        reason = None
        try:
            system.unshare(system.CLONE_NEWPID)
            pid = os.fork()
        except OSError as error:
            reason = f"the zygote cannot fork: {error.strerror}"
        if pid != 0:
            system.join(self._home, system.CLONE_NEWPID)
        return pid, reason

    def _answer(self, id: int, pid: int | None, error: str | None) -> None:
        pidfds = []
        if pid is not None:
            try:
                pidfds.append(os.pidfd_open(pid))
            except ProcessLookupError:
                error = "it has ended at once"
        try:
            socket.send_fds(self._control, [json.dumps({"t": "forked", "id": id, "error": error}).encode()], pidfds)
        except OSError:  # the gateway has left
            os._exit(0)
        for pidfd in pidfds:
            os.close(pidfd)

    def _become_sandbox(self, user: int | None, fds: list[int]) -> NoReturn:
        try:
            seclude(self._template, user, fds[:_GIVEN], fds[_GIVEN:])
            if self._with_egress:
                egress.hand_over(STREAM_FD)
            process.start_anew(COUNTER_FD)
            supervisor = serving.supervise(STREAM_FD, WORK_FOLDER, None)
        except BaseException as error:
            os.write(2, f"cannot start: {error!r}\n".encode())
            os._exit(_CANNOT_START)
        descend(serving.run(supervisor, self._preloaded, WORK_FOLDER, None))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="zygote", description="Forks the sandboxes of one gateway.")
    parser.add_argument("--fd", type=int, required=True, help="socket of packets to the gateway")
    parser.add_argument("--filter", type=int, required=True, help="file with the program that filters system calls")
    parser.add_argument("--template", type=json.loads, required=True, help="what all sandboxes have, JSON")
    parser.add_argument("--preload", default="", metavar="MODULES", help="libraries to import")
    parser.add_argument("--pip-index", metavar="URL", help="package index that user code may install from")
    parser.add_argument("--egress", action="store_true", help="each sandbox gives the gateway a way out to serve")
    return parser.parse_args(arguments)


def _step_teller(fd: int) -> Callable[[str], None]:
    """The gateway counts the time since it last heard of us."""

    def tell(step: str) -> None:
        try:
            os.write(fd, json.dumps({"t": "step", "step": step}).encode())
        except BrokenPipeError:  # the gateway has left
            os._exit(0)

    return tell


def _template(options: argparse.Namespace) -> Template:
    with open(options.filter, "rb") as file:
        program = file.read()
    return Template(**options.template, filter=program, files=dict(_notes(options.template["covered"])))


def _notes(covered: list[str]) -> list[tuple[str, bytes]]:
    contents = []
    for folder, folders, names in os.walk(_NOTES):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in covered]
        contents += [(path, Path(path).read_bytes()) for path in (os.path.join(folder, name) for name in names)]
    return contents if sum(len(content) for _, content in contents) <= _MAX_NOTES_BYTES else []


if __name__ == "__main__":
    main()
