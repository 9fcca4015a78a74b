"""First program of an embedded sandbox: gives up what the gateway has, then becomes bubblewrap. Standard library only.

All this has to happen between fork and exec. A process with threads, like the gateway, must not run Python there. So
this is a program of its own. Its argument is a JSON object:

    {"doors": [file, ...],            cgroup files to enter by
     "stage": [[folder, mount point], ...] | null,
     "user": uid | null,
     "users": [uid, count] | null,     instead of "user": a namespace of these, where we are the first, as user 0
     "limits": {"RLIMIT_CORE": 0, ...},
     "nice": 0 to 19,
     "argv": [program, ...]}

``stage`` (as root): the user of bubblewrap may not reach the folders that it is to bind, such as a Python under /root.
So they are bound to a place first that this user can reach. That is in a mount namespace which nobody else sees, and
which ends with the sandbox.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import sys
from typing import Final

STAGE: Final = "/tmp"  # noqa: S108 - a mount point that exists everywhere; hidden under a tmpfs of our own

_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUSER: Final = 0x10000000
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18
_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4


_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def stage_folders(folders: list[list[str]]) -> None:
    """Bind each folder to its mount point under STAGE."""

    def mount(source: str, target: str, type: bytes | None, flags: int, data: bytes | None = None) -> None:
        _check(_libc.mount(source.encode(), target.encode(), type, ctypes.c_ulong(flags), data), target)

    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    # Opened before STAGE is covered: a folder may lie in it.
    handles = [(os.open(source, os.O_PATH | os.O_CLOEXEC), target) for source, target in folders]
    mount("stage", STAGE, b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=0755,size=64k")
    for handle, target in handles:
        os.makedirs(target, mode=0o755)
        mount(f"/proc/self/fd/{handle}", target, None, _MS_BIND | _MS_REC)


def be_nice(value: int) -> None:
    """Let others be scheduled first, also where the kernel weighs sessions (autogroups) instead of processes."""
    os.nice(value)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as file:
        file.write(str(value))


def enter_users(first: int, count: int) -> None:
    """A user namespace of many users, and user 0 of it. A process that stays outside has to map them."""
    reader, writer = os.pipe()
    parent = os.getpid()
    mapper = os.fork()
    if mapper == 0:
        os.close(writer)
        os.read(reader, 1)  # its end comes when there is a namespace, or no parent
        try:
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{parent}/{name}", "w") as file:
                    file.write(f"0 {first} {count}")
        except OSError as error:
            print(f"cannot map users: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    _check(_libc.unshare(_CLONE_NEWUSER), "unshare")
    os.close(writer)
    if os.waitpid(mapper, 0)[1] != 0:
        sys.exit(1)
    os.close(reader)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def main() -> None:
    plan = json.loads(sys.argv[1])
    for door in plan["doors"]:
        with open(door, "w") as file:
            file.write("0")
    if plan["stage"] is not None:
        os.umask(0o022)
        stage_folders(plan["stage"])
    be_nice(plan["nice"])
    for name, value in plan["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    if plan["user"] is not None:
        os.setgroups([])
        os.setgid(plan["user"])
        os.setuid(plan["user"])
    if plan["users"] is not None:
        enter_users(*plan["users"])
    os.chdir("/")
    os.execve(plan["argv"][0], plan["argv"], {})  # noqa: S606 - an argv list made by backend.py


if __name__ == "__main__":
    main()
