"""First program of an embedded sandbox: gives up what the gateway has, then becomes bubblewrap. Standard library only.

It is a program of its own because all this has to happen between fork and exec, where a process with threads, like the
gateway, must not run Python. Argument: a JSON object

    {"doors": [file, ...],            cgroup files to enter by
     "stage": [[folder, mount point], ...] | null,
     "user": uid | null,
     "limits": {"RLIMIT_CORE": 0, ...},
     "nice": 0 to 19,
     "argv": [program, ...]}

``stage`` (as root): bubblewrap runs as a user who may not be able to reach the folders it is to bind, such as a Python
under /root. They are bound to a reachable place first, in a mount namespace that nobody else sees and that ends with
the sandbox.
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
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18
_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4


def stage_folders(folders: list[list[str]]) -> None:
    """Bind each folder to its mount point under STAGE."""
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int, what: str) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), what)

    def mount(source: str, target: str, type: bytes | None, flags: int, data: bytes | None = None) -> None:
        check(libc.mount(source.encode(), target.encode(), type, ctypes.c_ulong(flags), data), target)

    check(libc.unshare(_CLONE_NEWNS), "unshare")
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
    os.chdir("/")
    os.execve(plan["argv"][0], plan["argv"], {})  # noqa: S606 - an argv list made by backend.py


if __name__ == "__main__":
    main()
