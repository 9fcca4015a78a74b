"""Who started a container: written on it as a label, so that another gateway can tell whether the owner still lives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_START_TIME_FIELD = 19  # of /proc/<pid>/stat, counted after the name in parentheses (proc(5): field 22)


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, so named that its pid alone deceives nobody: not after a reboot, not from another PID namespace, not
    when the pid was given to another process."""

    boot: str
    pid_namespace: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Self:
        pid = os.getpid()
        started = _started(pid)
        assert started is not None
        return cls(_boot(), _pid_namespace(), pid, started)

    @classmethod
    def parse(cls, label: str) -> Self | None:
        """None for what ``str()`` did not write."""
        fields = label.split("/")
        if len(fields) != 4 or not fields[2].isdecimal():
            return None
        return cls(fields[0], fields[1], int(fields[2]), fields[3])

    def __str__(self) -> str:
        return f"{self.boot}/{self.pid_namespace}/{self.pid}/{self.started}"

    def is_gone(self) -> bool:
        """Certainly so. Of a process of another machine, boot or PID namespace nothing can be said from here."""
        if (self.boot, self.pid_namespace) != (_boot(), _pid_namespace()):
            return False
        return _started(self.pid) != self.started


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _pid_namespace() -> str:
    return str(os.stat("/proc/self/ns/pid").st_ino)


def _started(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rpartition(")")[2].split()[_START_TIME_FIELD]
