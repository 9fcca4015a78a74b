"""Sandboxes on this machine: our supervisor inside bubblewrap, reached through a socket pair.

    gateway ── Popen ─▶ launcher.py ── exec ─▶ bwrap ── namespaces ─▶ sh (process limit) ── exec ─▶ supervisor, PID 1
                        cgroup, mounts, uid, rlimits, empty environment

What it gives: user, pid, network (none), ipc, uts, cgroup and mount namespaces; no capability; a seccomp filter; a
read-only root with only /usr and the sandbox's Python in it; /tmp, /dev/shm and the work folder in memory, of bounded
size; rlimits; as root a uid of its own for each sandbox; where cgroups can be written, limits of memory, processes and
CPU. What it does not give: a kernel of its own. Code that breaks the kernel is out.

There is no falling back to less: where this does not work, ``start`` says why. ``unisolated`` is another thing, to be
asked for by name: the supervisor as a plain child process.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
from collections.abc import Sequence
from functools import partial
from typing import Final, Literal, TypeVar

from app.errors import SandboxForbidden, SandboxSilent, SandboxStartError
from app.sandbox.egress.proxy import Egress, Exit
from app.sandbox.limits import SandboxLimits
from app.sandbox.local import permission
from app.sandbox.local.capacity import machine_memory, rooms_in
from app.sandbox.local.cgroups import Cgroup, CgroupParent, Limits, find_parent
from app.sandbox.local.environment import Environment
from app.sandbox.local.forked import ForkedSandbox
from app.sandbox.local.process import SandboxProcess
from app.sandbox.local.recipe import FIRST_UID, Recipe
from app.sandbox.local.zygote import Zygote
from app.sandbox.local.zygotes import ZygoteFailed, Zygotes
from app.sandbox.worker.transport import Channel, connect_socket
from app.sandbox.worker.worker import Worker

log = logging.getLogger(__name__)

#: Bubblewrap has ended within some 10 ms.
_CHECK_TIMEOUT_S: Final = 10.0
#: What an idle sandbox has of its own, and something for what its code will use.
_BYTES_OF_FORK: Final = 64 << 20
_BYTES_OF_EXEC: Final = 192 << 20
#: ``zygote``: a fork of one preloaded process; ``exec``: a process that imports the libraries for itself.
StartBy = Literal["zygote", "exec"]
#: Owner of all sandboxes, where none has a zygote of its own.
_EVERYBODY: Final = ""
_LIMITS: Final = SandboxLimits()
#: Of backends in this process: their groups must not have one name.
_numbers = itertools.count()
_Whose = TypeVar("_Whose", str, str | None)


class LocalBackend:
    """Implements ``Backend`` and ``Forking``."""

    name = "local"

    def __init__(
        self,
        environment: Environment,
        *,
        limits: SandboxLimits = _LIMITS,
        output_limit_bytes: int = 32 << 20,
        start_timeout_s: float = 60.0,
        supervisor_options: Sequence[str] = (),
        unisolated: bool = False,
        egress: Egress | None = None,
        start: StartBy = "zygote",
        zygote_per_owner: bool = False,
    ) -> None:
        """
        Args:
            zygote_per_owner: sandboxes of one owner share memory as it was before their start with each other only.
        """
        if unisolated and egress is not None:
            raise SandboxStartError("code that is not isolated has all of the network: an egress proxy would be a lie")
        self._python = environment.python
        self._limits = limits
        self._output_limit_bytes = output_limit_bytes
        self._start_timeout_s = start_timeout_s
        self._unisolated = unisolated
        self._egress = egress
        self._is_root = os.geteuid() == 0
        self._number = next(_numbers)
        self._slots: set[int] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._started = 0
        self._cgroups: CgroupParent | None = None if unisolated else find_parent()
        self._recipe = Recipe(
            environment,
            limits,
            with_cgroups=self._cgroups is not None,
            with_egress=egress is not None,
            options=supervisor_options,
        )
        self._zygotes: Zygotes | None = None
        self._given_up: Zygotes | None = None
        self._zygote_of: dict[Worker, Zygote] = {}
        self._zygote_per_owner = zygote_per_owner
        self._has_forked = False
        if start == "zygote" and not unisolated:
            self._zygotes = Zygotes(self._recipe.start_zygote, silence_s=start_timeout_s)
        log.log(logging.WARNING if unisolated else logging.INFO, "local sandboxes: %s", self.describe())

    def __repr__(self) -> str:
        return f"<LocalBackend {len(self._slots)} sandboxes, Python {self._python}>"

    def describe(self) -> str:
        if self._unisolated:
            return "NOT ISOLATED: code runs as a plain child process, with all rights of the gateway's user"
        user = f"uids of their own from {FIRST_UID}" if self._is_root else "the gateway's own uid"
        limits = "memory, processes and CPU limited by cgroup"
        if self._cgroups is None:
            limits = "no writable cgroup: memory limited per process, memfd, inodes and CPU not limited"
        return (
            f"bubblewrap: own user, pid, network ({'none' if self._egress is None else 'the egress proxy only'}), ipc, "
            f"uts and mount namespaces, seccomp filter, read-only root, {user}; {limits}; "
            "the kernel is shared with the host"
        )

    async def start(self, owner: str | None = None) -> Worker:
        """Where a zygote is to be used and the first sandbox cannot be forked, this and all others are started without.
        One that has worked is not given up: what fails then is told."""
        zygotes = self._zygotes
        try:
            worker = await self._start(owner)
        except SandboxStartError as error:
            if zygotes is None or self._has_forked:
                raise
            if self._zygotes is zygotes:
                self._zygotes, self._given_up = None, zygotes
                log.warning(
                    "sandboxes import their libraries one by one, seconds each: no zygote here (%s)", error.message
                )
            await zygotes.close()
            return await self._start(owner)
        self._has_forked = self._zygotes is not None
        return worker

    @property
    def room(self) -> int:
        """How many idle sandboxes half of this machine's memory holds."""
        return rooms_in(machine_memory(), each=_BYTES_OF_FORK if self._zygotes is not None else _BYTES_OF_EXEC)

    @property
    def is_quick(self) -> bool:
        return self._zygotes is not None and self._has_forked

    def may_serve(self, worker: Worker, owner: str) -> bool:
        zygote = self._zygote_of.get(worker)
        return zygote is None or self._zygotes is None or self._zygotes.give(zygote, self._lineage(owner))

    async def _start(self, owner: str | None) -> Worker:
        slot = next(n for n in range(len(self._slots) + 1) if n not in self._slots)
        self._slots.add(slot)
        self._started += 1
        try:
            process = self._spawn(slot, owner)
        except (OSError, KeyError) as error:
            self._slots.discard(slot)
            raise SandboxStartError(f"could not start a sandbox: {error!r}") from error

        way_out: Exit | None = None
        zygotes = self._zygotes

        async def end() -> None:
            if way_out is not None:
                await way_out.close()
            await process.kill()
            self._slots.discard(slot)
            self._zygote_of.pop(worker, None)
            if zygotes is not None:
                zygotes.release()

        async def kill() -> None:
            """Cancelled, it goes on to its end, for which ``close`` waits."""
            ending = asyncio.create_task(end())
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)
            await asyncio.shield(ending)

        channel = Channel()
        id = f"local-{os.getpid()}-{self._started}"
        worker = Worker(channel, id=id, kill=kill, output_limit_bytes=self._output_limit_bytes)
        try:
            await process.begin()
            if self._egress is not None:
                way_out = await self._egress.open(id, process.sock)
            await connect_socket(process.sock, channel)
            await worker.wait_ready(self._start_timeout_s)
            process.find_first()
            if isinstance(process, ForkedSandbox) and process.zygote is not None:
                self._zygote_of[worker] = process.zygote
        except SandboxSilent as error:
            await worker.close()
            raise SandboxSilent(f"{error}; {permission.last_line(process.tail.text())}") from error
        except (SandboxStartError, OSError) as error:
            await worker.close()
            said = error.said if isinstance(error, ZygoteFailed) else process.tail.text()
            log.debug("sandbox %s: %s", id, said)
            if permission.is_refused(said):
                raise SandboxForbidden(permission.advice(said)) from error
            # Clients are told, too: a line of it.
            raise SandboxStartError(f"{error}; {permission.last_line(said)}; {permission.sysctls()}") from error
        except BaseException:
            await worker.close()
            raise
        return worker

    async def check(self) -> None:
        """Starts bubblewrap as for a sandbox, with a program that ends at once.

        Raises:
            SandboxForbidden: this machine, or the container we are in, does not allow it. The backend is closed.
        """
        if self._unisolated:
            return
        try:
            process = self._spawn(0, None, program=["/bin/true"])
        except (OSError, KeyError):
            return  # which is told of the first sandbox, and may pass
        try:
            await process.begin()
            await process.tail.wait_end(_CHECK_TIMEOUT_S)
        finally:
            await process.kill()
        if permission.is_refused(said := process.tail.text()):
            await self.close()
            raise SandboxForbidden(permission.advice(said))

    async def close(self) -> None:
        await asyncio.gather(*self._endings, return_exceptions=True)
        for zygotes in filter(None, (self._zygotes, self._given_up)):
            await zygotes.close()
        if self._cgroups is not None:
            self._cgroups.remove()

    def _spawn(
        self, slot: int, owner: str | None, *, program: Sequence[str] | None = None
    ) -> SandboxProcess | ForkedSandbox:
        """``program`` instead of the supervisor."""
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            undo.callback(theirs.close)
            process: SandboxProcess | ForkedSandbox
            if self._unisolated:
                process = self._recipe.start_plain(ours, theirs)
            else:
                cgroup = self._make_cgroup(slot)
                if cgroup is not None:
                    undo.callback(cgroup.remove)
                if self._zygotes is not None and program is None:
                    find = partial(self._zygotes.find, self._lineage(owner))
                    user = slot + 1 if self._is_root else None  # as the zygote sees it: FIRST_UID + slot
                    process = ForkedSandbox(find, sock=ours, theirs=theirs, user=user, cgroup=cgroup)
                    undo.pop_all()
                    return process
                process = self._recipe.start_isolated(ours, theirs, slot=slot, cgroup=cgroup, program=program)
            undo.pop_all()
            theirs.close()
            return process

    def _lineage(self, owner: _Whose) -> _Whose:
        """Whose zygote an owner's sandboxes are forks of."""
        return owner if self._zygote_per_owner else _EVERYBODY

    def _make_cgroup(self, slot: int) -> Cgroup | None:
        if self._cgroups is None:
            return None
        limits = Limits(self._limits.memory_bytes, self._limits.processes + 2, self._limits.cpus)
        return self._cgroups.create(f"{self._number}-{slot}", limits)
