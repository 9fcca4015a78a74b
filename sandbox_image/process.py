"""Supervisor. Processes of the sandbox as the supervisor sees them: its own standing, the birth of an interpreter, and
deaths."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox_image.protocol import PROGRESS

#: Far more than a sandbox may have processes.
_MAX_ROUNDS = 10_000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36
#: Where the interpreter finds its channel. Nothing above it is open when it starts.
_CHANNEL_FD = 3
#: No descriptor is ever above it. Taken at start: user code of our uid may lower our limits (prlimit), and what lies
#: above a lowered limit would stay open in the next interpreter.
_max_fds = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
#: In the place of a descriptor that is not ours any more.
_CLOSED = -1
#: Python's own settings at start; a program may rely on BrokenPipeError.
_IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}
#: oom_kill counters of the memory cgroup, version 2 and version 1, as a container sees its own.
_OOM_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))

#: That of a fork of a zygote, which has no cgroup file system.
_oom_counter_fd: int | None = None

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {value}): {os.strerror(number)}")


def start_anew(oom_counter_fd: int) -> None:
    """A fork of a zygote is in limits, and in a cgroup, of its own."""
    global _max_fds, _oom_counter_fd
    _max_fds = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    _oom_counter_fd = oom_counter_fd


def protect_supervisor() -> None:
    """Take this process out of the reach of user code that has the same uid.

    Not dumpable: /proc/<pid>/mem, fd and environ belong to root, and ptrace is refused. Subreaper: whatever a process
    of the sandbox leaves behind becomes our child, and is found by ``kill_everything``, also where we are not PID 1.
    """
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


@dataclass(frozen=True, slots=True)
class Lines:
    """What lies between the supervisor and one interpreter: (supervisor's end, interpreter's end) of each."""

    channel: tuple[int, int]
    stdout: tuple[int, int]
    stderr: tuple[int, int]
    progress: mmap.mmap

    @classmethod
    def open(cls, owner: int | None) -> Lines:
        """New descriptors. The pipes are made as ``owner`` so that its /dev/stdout can be opened.

        The pipes keep their default size (64 KiB): larger ones use up the quota of pipe memory that all sandboxes of
        one uid share (pipe-user-pages-soft), beyond which every new pipe shrinks to 8 KiB.
        """
        ours, theirs = socket.socketpair()
        if owner is not None:  # gVisor knows no fchown of a pipe
            os.seteuid(owner)
        stdout, stderr = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        if owner is not None:
            os.seteuid(0)
        lines = cls((ours.detach(), theirs.detach()), stdout, stderr, mmap.mmap(-1, mmap.PAGESIZE))
        for mine, _ in (lines.channel, lines.stdout, lines.stderr):
            os.set_blocking(mine, False)
        PROGRESS.pack_into(lines.progress, 0, 0, 0)
        return lines

    def for_copy(self) -> Lines:
        """Those of a copy of the interpreter: a channel of its own; it writes to the same pipes and the same memory."""
        ours, theirs = socket.socketpair()
        stdout, stderr = (os.dup(fd) for fd, _ in (self.stdout, self.stderr))
        os.set_blocking(ours.fileno(), False)
        return Lines((ours.detach(), theirs.detach()), (stdout, _CLOSED), (stderr, _CLOSED), self.progress)

    def close_interpreter_side(self) -> None:
        for _, theirs in (self.channel, self.stdout, self.stderr):
            if theirs != _CLOSED:
                os.close(theirs)

    def close_supervisor_side(self) -> None:
        for ours, _ in (self.channel, self.stdout, self.stderr):
            os.close(ours)


def become_interpreter(lines: Lines, workdir: str, uid: int | None) -> socket.socket:
    """In the forked child: shed everything of the supervisor, then everything it protects itself with.

    The order matters: the process turns dumpable, hence open to its own kind, only when it holds nothing of the
    supervisor any more; a process that is not dumpable may not raise its own oom_score_adj.
    """
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGINT} - _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (lines.stdout[1], 1), (lines.stderr[1], 2)):
        os.dup2(source, target)
    if lines.channel[1] != _CHANNEL_FD:
        os.dup2(lines.channel[1], _CHANNEL_FD, inheritable=False)
    os.closerange(_CHANNEL_FD + 1, _max_fds)
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    die_with_parent()
    _prctl(_PR_SET_DUMPABLE, 1)
    # The kernel is to choose the interpreter, never its supervisor. A raise needs no privilege; where /proc is
    # read-only a lack of memory may cost the sandbox instead of its interpreter.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    _reseed()
    os.chdir(workdir)
    return socket.socket(fileno=_CHANNEL_FD)


def die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _reseed() -> None:
    """Two interpreters of one zygote must not draw the same numbers, nor have the same secrets.

    OpenSSL notices a fork by a process id that is another one. In pid namespaces it need not be.
    """
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "ssl" in sys.modules:
        sys.modules["ssl"].RAND_add(os.urandom(48), 48.0)
    if "multiprocessing.process" in sys.modules:
        sys.modules["multiprocessing.process"].current_process().authkey = os.urandom(32)


def kill_everything() -> None:
    """End and reap every process below this one.

    As PID 1 of a PID namespace that is everything else in it. Elsewhere it is our children, again and again: the
    orphans they leave come to us, their subreaper.
    """
    while True:
        if os.getpid() == 1:
            _kill(-1)
        else:
            for pid in children():
                _kill(pid)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def kill_everything_but(spare: int) -> bool:
    """The same, but for one child, which has no children. False: that one is dead too.

    As PID 1 everything is stopped first, for nothing may fork while we look. Elsewhere code that forks faster than we
    kill takes the child with it.
    """
    for _ in range(_MAX_ROUNDS):
        if os.getpid() == 1:
            _kill(-1, signal.SIGSTOP)
            others = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {1, spare}
        else:
            others = set(children()) - {spare}
        if not others:
            _kill(spare, signal.SIGCONT)
            return not has_ended(spare)
        for pid in others:
            _kill(pid)
        if os.waitpid(-1, 0)[0] == spare:
            break
    kill_everything()
    return False


def _kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def has_ended(child: int) -> bool:
    """Dead, whether it was waited for or not."""
    try:
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def children() -> list[int]:
    """Of every thread: a child belongs to the thread that forked it."""
    lists = list(Path("/proc/self/task").glob("*/children"))
    if not lists:  # gVisor has none
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == os.getpid()]
    return [int(child) for list in lists for child in list.read_text().split()]


def cpu_ms() -> int:
    """CPU time of all other processes that there are or were in the sandbox; where we are not PID 1, of our children
    and of all that have been waited for."""
    own = os.getpid()
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()] if own == 1 else children()
    ticks = sum(_cpu_ticks(pid) for pid in pids if pid != own)
    waited_for = os.times()
    return ticks * 1000 // os.sysconf("SC_CLK_TCK") + int(
        1000 * (waited_for.children_user + waited_for.children_system)
    )


def _cpu_ticks(pid: int) -> int:
    """Of a process, and of those of its children that it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended; its time is added to its parent's
        return 0
    return sum(map(int, fields[11:15]))


def _parent(pid: str) -> int | None:
    try:
        return int(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return None


def reap() -> Iterator[tuple[int, int]]:
    """Processes that have ended: (pid, wait status)."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def describe_end(status: int, *, out_of_memory: bool) -> tuple[str, str]:
    """Reason and detail of a ``lost`` message."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return "exit", f"exit status {code}"
    if out_of_memory and code == -signal.SIGKILL:
        return "memory", "killed by the kernel: the sandbox ran out of memory"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "real-time signal"
    return "signal", f"killed by signal {-code} ({name})"


def oom_kills() -> int:
    """Processes of this sandbox the kernel has killed for lack of memory; 0 where that cannot be read."""
    for text in _oom_texts():
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0


def _oom_texts() -> Iterator[str]:
    if _oom_counter_fd is not None:
        yield os.pread(_oom_counter_fd, 4096, 0).decode()
        return
    for path in _OOM_COUNTERS:
        with contextlib.suppress(OSError):
            yield path.read_text()
