"""Memory, process and CPU limits of one embedded sandbox, through cgroups v1 or v2, where we may write them."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/sys/fs/cgroup")
_CONTROLLERS: Final = ("memory", "pids", "cpu")
_CPU_PERIOD_US: Final = 100_000
#: Weight of all sandboxes together, half of what a group has by default (1024 in v1, 100 in v2): under load the gateway
#: is scheduled first. Not less: beside others that take every CPU, sandboxes must still start.
_SHARES: Final = 512
_WEIGHT: Final = 50
#: What a cgroup file system says when a file that it does not have is opened for writing.
_NO_SUCH_FILE: Final = (FileNotFoundError, PermissionError)
_LEAF: Final = "gateway"
_PREFIX: Final = "eager-"


@dataclass(frozen=True, slots=True)
class Limits:
    """``cpus`` may be a fraction."""

    memory_bytes: int
    processes: int
    cpus: float


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The groups of one sandbox: one folder with v2, one per controller with v1. ``seen_at``: where a process in it
    expects its memory group, as in a container."""

    folders: tuple[Path, ...]
    memory_folder: Path
    seen_at: str

    @property
    def doors(self) -> list[str]:
        """Files into which a process writes 0 to enter."""
        return [str(folder / "cgroup.procs") for folder in self.folders]

    @property
    def oom_counter(self) -> str:
        """A file with a line ``oom_kill N``."""
        names = ("memory.events", "memory.oom_control")
        return next(str(path) for name in names if (path := self.memory_folder / name).exists())

    def remove(self, timeout_s: float = 2.0) -> None:
        """Blocks for the moment that the kernel takes to bury the last process. Stragglers are killed: there is one if
        bubblewrap was killed when it had just forked, its child waits for it for ever."""
        _kill_all(self.memory_folder)
        deadline = time.monotonic() + timeout_s
        for folder in self.folders:
            while True:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    _kill_all(self.memory_folder)
                    time.sleep(0.002)
                else:
                    break


def _kill_all(group: Path) -> None:
    """Who is in it: at once where the kernel can do that (v2, Linux 5.14), else one by one."""
    with contextlib.suppress(OSError):
        with contextlib.suppress(*_NO_SUCH_FILE), (group / "cgroup.kill").open("r+") as switch:
            switch.write("1")
            return
        for process in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)


class CgroupParent:
    """Where the groups of our sandboxes are made."""

    def __init__(self, folders: Mapping[str, Path], *, unified: bool) -> None:
        self._folders = folders
        self._unified = unified

    def __repr__(self) -> str:
        return f"<CgroupParent v{2 if self._unified else 1} {self._folders['memory']}>"

    def create(self, name: str, limits: Limits) -> Cgroup:
        """A new group with its limits.

        Raises:
            OSError: the kernel refused.
        """
        memory, pids, cpu = (self._folders[controller] / name for controller in _CONTROLLERS)
        seen_at = str(_ROOT if self._unified else _ROOT / "memory")
        cgroup = Cgroup(tuple(dict.fromkeys((memory, pids, cpu))), memory, seen_at)
        quota = round(limits.cpus * _CPU_PERIOD_US)
        try:
            for folder in cgroup.folders:
                folder.mkdir()
            (pids / "pids.max").write_text(str(limits.processes))
            if self._unified:
                (memory / "memory.max").write_text(str(limits.memory_bytes))
                (cpu / "cpu.max").write_text(f"{quota} {_CPU_PERIOD_US}")
                with contextlib.suppress(*_NO_SUCH_FILE):  # a kernel without swap accounting
                    (memory / "memory.swap.max").write_text("0")
            else:
                (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
                (cpu / "cpu.cfs_period_us").write_text(str(_CPU_PERIOD_US))
                (cpu / "cpu.cfs_quota_us").write_text(str(quota))
                with contextlib.suppress(*_NO_SUCH_FILE):
                    (memory / "memory.memsw.limit_in_bytes").write_text(str(limits.memory_bytes))
        except OSError:
            cgroup.remove()
            raise
        return cgroup

    def remove(self) -> None:
        """Remove the parent itself, unless groups of another backend of this process are in it."""
        for folder in self._folders.values():
            try:
                folder.rmdir()
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY):
                    raise


def find_parent(*, root: Path = _ROOT, own: Path = Path("/proc/self/cgroup")) -> CgroupParent | None:
    """A place for our groups under the one this process is in; None where there is none we may write to."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
        if (root / "cgroup.controllers").exists():
            return _unified_parent(root / lines[0][2].lstrip("/"))
        return _split_parent(root, {controller: path for _, names, path in lines for controller in names.split(",")})
    except OSError:
        return None


def _split_parent(root: Path, paths: Mapping[str, str]) -> CgroupParent | None:
    folders: dict[str, Path] = {}
    for controller in _CONTROLLERS:
        if controller not in paths:
            return None
        own = root / controller / paths[controller].lstrip("/")
        # In a container the path is the host's, and the mount already is our own group.
        folders[controller] = (own if own.is_dir() else root / controller) / f"{_PREFIX}{os.getpid()}"
        _remove_stale(folders[controller].parent)
    made: list[Path] = []
    try:
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
            made.append(folder)
        (folders["cpu"] / "cpu.shares").write_text(str(_SHARES))
    except OSError:
        for folder in made:
            folder.rmdir()
        raise
    return CgroupParent(folders, unified=False)


def _remove_stale(parent: Path) -> None:
    """Groups of gateways that were killed. Their processes died with them, or nearly all."""
    for folder in parent.glob(f"{_PREFIX}*"):
        if not Path("/proc", folder.name.removeprefix(_PREFIX)).exists():
            for group in (*folder.glob("*/"), folder):
                _kill_all(group)
                with contextlib.suppress(OSError):
                    group.rmdir()


def _unified_parent(own: Path) -> CgroupParent | None:
    """v2 wants a group to hold either processes or groups with limits: who is in ours moves to a leaf of its own."""
    if own.name == _LEAF:
        own = own.parent
    if not set(_CONTROLLERS) <= set((own / "cgroup.controllers").read_text().split()):
        return None
    try:
        _pass_on(own)
    except OSError:  # EBUSY: somebody is in it
        leaf = own / _LEAF
        leaf.mkdir(exist_ok=True)
        for process in (own / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(process)
        _pass_on(own)
    _remove_stale(own)
    parent = own / f"{_PREFIX}{os.getpid()}"
    parent.mkdir(exist_ok=True)
    try:
        _pass_on(parent)
        (parent / "cpu.weight").write_text(str(_WEIGHT))
    except OSError:
        parent.rmdir()
        raise
    return CgroupParent(dict.fromkeys(_CONTROLLERS, parent), unified=True)


def _pass_on(group: Path) -> None:
    """Let the groups in this one have limits."""
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in _CONTROLLERS))
