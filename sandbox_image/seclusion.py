"""Supervisor. How a fork of the zygote becomes a sandbox of its own: what ``bwrap`` does for a program it starts, done
by the process itself, for it cannot be executed anew.

    cgroup ─▶ descriptors ─▶ namespaces ─▶ mounts ─▶ limits ─▶ user ─▶ user namespace ─▶ no capability ─▶ filter

Rules.
1. The cgroup comes first: all that follows is charged to it.
2. Every namespace but the last belongs to the zygote's user namespace. Capabilities that code might gain in its own one
   give it none over its mounts, its network or its processes.
3. /proc is mounted before the last user namespace is made: after that the kernel allows none, for ours is covered in
   part. RLIMIT_NPROC is set after it: before, it would count the processes of all sandboxes.
4. No step is left out when it fails: the process ends, with the name of the step.
"""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sandbox_image import system
from sandbox_image.host_files import HIDDEN
from sandbox_image.protocol import WORK_FOLDER

#: Seen inside as a user without a name on the host.
_USER: Final = 65532
_HOSTNAME: Final = "sandbox"
#: What ``bwrap --proc`` makes read-only.
_SEALED: Final = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus")
_TERMINALS: Final = "newinstance,ptmxmode=0666,mode=620"
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP_RUNNING: Final = 0x41
#: Where the descriptors given to the fork are moved, out of the way of those they become.
_HIGH: Final = 64
#: What is open in a sandbox besides 0 to 2: the stream to the gateway, the count of what the kernel has killed.
STREAM_FD: Final = 3
COUNTER_FD: Final = 4


@dataclass(frozen=True, slots=True)
class Template:
    """What all sandboxes of one zygote have in common.

    Attributes:
        sizes: of the file systems in memory, by folder, in bytes.
        limits: rlimits by name.
        processes: of one sandbox.
        filter: of system calls, a BPF program.
        covered: folders of the zygote's root that lie below one of ``sizes``, to be seen in sandboxes all the same.
        files: of /tmp, with their content: what libraries have noted there.
    """

    sizes: Mapping[str, int]
    limits: Mapping[str, int]
    processes: int
    nice: int
    covered: Sequence[str]
    filter: bytes
    files: Mapping[str, bytes]


def seclude(template: Template, user: int | None, given: Sequence[int], doors: Sequence[int]) -> None:
    """To be called in the first process of a new pid namespace, which has the capabilities of the zygote.

    Args:
        user: uid of its own, in the zygote's user namespace; None: the zygote's.
        given: stderr, the stream, the counter of memory kills.
        doors: of the sandbox's cgroups.

    Raises:
        OSError: nothing may run in this process.
    """
    for door in doors:
        os.write(door, b"0")
    _keep(given)
    os.setsid()
    _be_nice(template.nice)
    system.unshare(
        system.CLONE_NEWNS | system.CLONE_NEWNET | system.CLONE_NEWIPC | system.CLONE_NEWUTS | system.CLONE_NEWCGROUP
    )
    socket.sethostname(_HOSTNAME)
    _raise_loopback()
    owner = os.getuid() if user is None else user
    _mount(template, owner, terminals=user is not None)
    for name, value in template.limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    settings = os.open("/proc/sys/user", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    _seal()
    _become(owner, own=user is not None, settings=settings)
    os.close(settings)
    resource.setrlimit(resource.RLIMIT_NPROC, (template.processes, template.processes))
    system.drop_capabilities()
    system.filter_calls(template.filter)
    os.umask(0o022)
    _write(template.files)
    os.chdir(WORK_FOLDER)


def _keep(given: Sequence[int]) -> None:
    """Nothing else of the zygote stays open."""
    stderr, stream, counter = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for fd in given)
    null = os.open(os.devnull, os.O_RDWR)
    for source, target in ((null, 0), (null, 1), (stderr, 2)):
        os.dup2(source, target)
    for source, target in ((stream, STREAM_FD), (counter, COUNTER_FD)):
        os.dup2(source, target, inheritable=False)
    os.closerange(COUNTER_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _be_nice(value: int) -> None:
    os.nice(value)
    if value:
        try:
            with open("/proc/self/autogroup", "w") as file:
                file.write(str(value))
        except OSError:  # a kernel that weighs processes, not sessions
            pass


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP_RUNNING))


def _mount(template: Template, owner: int, *, terminals: bool) -> None:
    """Over the root of the zygote, which is read-only."""
    system.mount("none", "/", "", system.MS_REC | system.MS_PRIVATE)
    covered = [(folder, os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) for folder in template.covered]
    for folder, size in template.sizes.items():
        mode = "0755" if folder == WORK_FOLDER else "1777"
        options = f"mode={mode},size={size},uid={owner},gid={owner}"
        system.mount("tmpfs", folder, "tmpfs", system.MS_NOSUID | system.MS_NODEV, options)
    for folder, handle in covered:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        system.mount(f"/proc/self/fd/{handle}", folder, "", system.MS_BIND | system.MS_REC)  # as read-only as it was
        os.close(handle)
    if terminals:
        _mount_terminals()
    system.mount("proc", "/proc", "proc", system.MS_NOSUID | system.MS_NODEV | system.MS_NOEXEC)


def _mount_terminals() -> None:
    system.mount("devpts", "/dev/pts", "devpts", system.MS_NOSUID | system.MS_NOEXEC, _TERMINALS)


def _seal() -> None:
    for path in _SEALED:
        if os.path.exists(path):
            system.mount(path, path, "", system.MS_BIND | system.MS_REC)
            flags = system.MS_BIND | system.MS_REMOUNT | system.MS_RDONLY
            system.mount("none", path, "", flags | system.MS_NOSUID | system.MS_NODEV | system.MS_NOEXEC)
    for path in filter(os.path.exists, HIDDEN):
        system.mount("/dev/null", path, "", system.MS_BIND)


def _become(owner: int, *, own: bool, settings: int) -> None:
    """The user, in a user namespace in which no further one can be made."""
    if own:
        os.setgroups([])
        os.setresgid(owner, owner, owner)
        os.setresuid(owner, owner, owner)
    system.set_dumpable(True)  # else the maps are not ours to write
    if not own:  # a file system of terminals needs a user 0, which the zygote's namespace must not have
        system.unshare(system.CLONE_NEWUSER | system.CLONE_NEWNS)
        _map_user(0, owner)
        _mount_terminals()
        owner = 0
    system.unshare(system.CLONE_NEWUSER)
    _map_user(_USER, owner)
    setting = os.open("max_user_namespaces", os.O_WRONLY, dir_fd=settings)
    os.write(setting, b"0")
    os.close(setting)
    system.set_dumpable(False)


def _map_user(inside: int, outside: int) -> None:
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {outside} 1"),
        ("gid_map", f"{inside} {outside} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _write(files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
