"""What scripts/prepare-tests makes in the background while tests run that do not need it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

#: Tests that need one have a mark of its name.
JOBS = ("docker", "sdks", "browser", "cpython")
_STATE = Path(__file__).parents[1] / ".eager" / "prepared"


def wait_for(job: str) -> None:
    """Until the job is not under way any more. Returns at once if nobody has begun it."""
    try:
        with (_STATE / f"{job}.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return


def failure_of(job: str) -> str | None:
    """The last line that the job has said, if it has failed."""
    if not (_STATE / f"{job}.failed").exists():
        return None
    log = _STATE / f"{job}.log"
    said = log.read_text(errors="replace").split("\n") if log.exists() else []
    last = next(filter(None, reversed(said)), "it said nothing")
    return f"{last} (scripts/prepare-tests; more in {log})"


def base_image() -> str:
    """What the images are built on."""
    told = os.environ.get("EAGER_TEST_BASE_IMAGE")
    made = _STATE / "base-image"
    return told or (made.read_text().strip() if made.exists() else "eager-base:bookworm")
