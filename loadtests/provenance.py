"""Where figures come from: the command, the commit, the date and the machine."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

_ROOT = Path(__file__).parents[1]
#: Not the documents: publishing one report must not make the next one another commit's.
_MEASURED = ("app", "sandbox_image", "loadtests", "tests/corpus")


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    command: str
    commit: str
    date: str
    machine: str
    load: float


def provenance() -> Provenance:
    """Of this process. ``load`` is the machine's at the moment: figures of a busy machine mean little."""
    return Provenance(
        command=_command(),
        commit=commit(),
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        machine=_machine(),
        load=round(os.getloadavg()[0], 2),
    )


def commit() -> str:
    """Short id of the commit, with ``-dirty`` if what is measured differs from it; ``unknown`` outside a repository."""
    id = _git("rev-parse", "--short=12", "HEAD").stdout.strip()
    if not id:
        return "unknown"
    return f"{id}-dirty" if _git("diff", "--quiet", "HEAD", "--", *_MEASURED).returncode else id


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)


def _command() -> str:
    """As one would type it again, whichever way it was started."""
    arguments = sys.argv[1:]
    return shlex.join(["eager", "bench", *(arguments[1:] if arguments[:1] == ["bench"] else arguments)])


def _machine() -> str:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{_processor()}, {cores} cores, {memory_gb:.0f} GB, {system}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def as_markdown(told: Provenance) -> str:
    return (
        f"`{told.command}` at commit `{told.commit}`, {told.date}, on {told.machine}; "
        f"load average at the end {told.load:g}.\n"
    )
