"""Where attempts are made: a pool with an attacker and a neighbour, next to things of the host that must stay as they
are. ``Arena.withstands`` makes one attempt and proves that

- the neighbour, in its own sandbox, still has its state: names, files, environment, modules, random numbers, a child;
- the host's canaries are untouched: a process of the sandbox's own uid, a file that all may write, listeners that
  nobody may reach, the kernel's settings, the clock, the gateway's own standing;
- the gateway's memory stayed bounded, and that of the sandbox's output as well;
- the pool gives out a new worker that works: the attacker of the next attempt. (Attempts that share a sandbox: that one
  works on after a reset.)
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.sandbox.docker.users import SHARED_UID
from app.sandbox.local.seccomp import ARCHITECTURES, DENIED
from app.sandbox.pool import Pool
from app.sandbox.worker.worker import Worker
from tests.attacks.attempt import Attempt, carry_out
from tests.sandbox.backends import Opener, printed

#: What one attempt may add to the peak of the gateway's memory: a few copies of the largest frame.
_GATEWAY_MEMORY_BYTES = 256 << 20
#: High-water mark of a worker, and one read of the stream above it.
_BUFFERED_BYTES = 2 << 20
_ABSTRACT_NAME = f"eager-canary-{os.getpid()}"
#: Of the whole machine.
_SETTINGS = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/vm/overcommit_memory",
    "/proc/swaps",
)

NEIGHBOUR_STARTS = """
import builtins, os, random, subprocess, sys
secret = 'of the neighbour'
random.seed(7)
os.environ['KEPT'] = 'yes'
open('kept', 'w').write('text')
open('/dev/shm/kept', 'w').write('text')
subprocess.run(['sh', '-c', 'echo first use'], capture_output=True, text=True)
modules = set(sys.modules)
names = set(vars(builtins))
child = subprocess.Popen(['sleep', '1000'])
"""
NEIGHBOUR_STATE = """
shell = subprocess.run(['sh', '-c', 'echo pipe'], capture_output=True, text=True).stdout.strip()
print(secret, os.environ['KEPT'], open('kept').read(), open('/dev/shm/kept').read(), sorted(os.listdir()))
print(random.getstate() == random.Random(7).getstate(), child.poll(), shell)
print(sorted(set(sys.modules) - modules), sorted(set(vars(builtins)) - names))
"""
NEIGHBOUR_SAYS = "of the neighbour yes text text ['kept']\nTrue None pipe\n[] []\n"


class Host:
    """Canaries outside of every sandbox. ``touched`` names those that something has happened to."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "canary"
        self.file.write_text("alive")
        self.file.chmod(0o666)
        user = SHARED_UID if os.geteuid() == 0 else None
        self.process = subprocess.Popen(["sleep", "1000"], user=user, cwd="/")
        self.tcp = socket.create_server(("", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("", self.port))
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(f"\0{_ABSTRACT_NAME}")
        self.unix.listen()
        for canary in (self.tcp, self.udp, self.unix):
            canary.setblocking(False)
        self._folder = sorted(folder.iterdir())
        self._before = self._standing()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for canary in (self.tcp, self.udp, self.unix):
            canary.close()

    @property
    def port(self) -> int:
        port: int = self.tcp.getsockname()[1]
        return port

    def touched(self) -> list[str]:
        found = []
        if self.process.poll() is not None or _state(self.process.pid) != "S":
            found.append("the process")
        if self.file.read_text() != "alive" or sorted(self.file.parent.iterdir()) != self._folder:
            found.append("the file")
        for name, canary in (("TCP", self.tcp), ("UDP", self.udp), ("Unix", self.unix)):
            with contextlib.suppress(BlockingIOError):
                canary.recv(1) if canary is self.udp else canary.accept()
                found.append(f"the {name} socket was reached")
        now = self._standing()
        return found + [f"{key}: {self._before[key]!r} is {now[key]!r}" for key in now if now[key] != self._before[key]]

    def _standing(self) -> dict[str, object]:
        """The kernel's settings and what the gateway has of it; the clock, to the second."""
        settings: dict[str, object] = {path: _read(path) for path in _SETTINGS}
        settings["clock"] = round((time.time() - time.monotonic()) / 10)
        settings["priority"] = (os.getpriority(os.PRIO_PROCESS, 0), _read("/proc/self/oom_score_adj"))
        settings["canary"] = (os.getpriority(os.PRIO_PROCESS, self.process.pid), _state_of_limits(self.process.pid))
        return settings


class Arena:
    """Where one attempt after the other is made, each in a worker of its own."""

    def __init__(self, pool: Pool, host: Host, neighbour: Worker, attacker: Worker, *, has_cgroup: bool) -> None:
        self._pool = pool
        self._has_cgroup = has_cgroup
        self._host = host
        self._neighbour = neighbour
        self._attacker = attacker
        self._attacker_is_used = False
        self._prelude = _prelude(host)

    async def withstands(self, attempt: Attempt) -> None:
        if attempt.machine not in (None, platform.machine()):
            pytest.skip(f"for {attempt.machine}")
        if attempt.by_cgroup and not self._has_cgroup:
            pytest.skip("no writable cgroup: memory in files, shared memory and inodes are not limited")
        if self._attacker_is_used and not attempt.shares:
            await self._replace_attacker()
        worker = self._attacker
        _forget_peak_memory()
        before = _peak_memory()
        try:
            seen = await carry_out(attempt, worker, self._prelude)
            if attempt.check is not None:
                await attempt.check(worker)
            if worker.death is None and attempt.recovers:
                assert await printed(worker, "print('alive')\n") == "alive\n"
        finally:
            if attempt.shares and worker.death is None:
                await worker.reset()
                self._attacker_is_used = True
            else:
                await self._replace_attacker()
        assert seen.most_buffered < _BUFFERED_BYTES
        assert _peak_memory() - before < _GATEWAY_MEMORY_BYTES
        assert await printed(self._attacker, "print(6 * 7)\n") == "42\n"
        assert await printed(self._neighbour, NEIGHBOUR_STATE) == NEIGHBOUR_SAYS
        assert self._host.touched() == []

    async def _replace_attacker(self) -> None:
        self._pool.discard(self._attacker)
        self._attacker = await self._pool.acquire(60)
        self._attacker_is_used = False


@asynccontextmanager
async def arena(opener: Opener, folder: Path) -> AsyncIterator[Arena]:
    with contextlib.closing(Host(folder)) as host:
        async with opener() as opened:
            before = opened.leftovers()
            async with Pool(opened.backend, warm=1, limit=4) as pool:
                neighbour = await pool.acquire(60)
                await printed(neighbour, NEIGHBOUR_STARTS)
                has_cgroup = "no writable cgroup" not in opened.backend.describe()
                yield Arena(pool, host, neighbour, await pool.acquire(60), has_cgroup=has_cgroup)
            assert opened.leftovers() <= before


def _prelude(host: Host) -> str:
    """Facts that an attacker would have to guess, then the helpers."""
    column = list(ARCHITECTURES).index(platform.machine())
    facts = {
        "SYSTEM_CALLS": {name: numbers[column] for name, numbers in DENIED.items() if numbers[column] is not None},
        "HOST_PIDS": [host.process.pid, os.getpid(), os.getppid()],
        "HOST_FILES": [str(host.file), str(Path(__file__)), sys.executable],
        "HOST_ADDRESSES": ["127.0.0.1", "::1", "172.17.0.1", *_own_addresses()],
        "HOST_PORT": host.port,
        "HOST_ABSTRACT": _ABSTRACT_NAME,
        "MACHINE": platform.machine(),
    }
    lines = "".join(f"{name} = {value!r}\n" for name, value in facts.items())
    return lines + Path(__file__).with_name("prelude.py").read_text()


def _own_addresses() -> list[str]:
    addresses = set()
    for target in ("192.0.2.1", "172.17.0.1"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))  # sends nothing
            addresses.add(probe.getsockname()[0])
    return sorted(addresses)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _state_of_limits(pid: int) -> str:
    return Path(f"/proc/{pid}/limits").read_text()


def _forget_peak_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_memory() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmHWM")
