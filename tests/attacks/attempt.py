"""One attempt from inside a sandbox, and how it has to end.

The code runs after ``prelude.py``, whose helpers say whether the kernel refused. It may succeed or fail inside; what
it must never do is in ``arena.py``, which looks after each attempt.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.errors import SandboxGone
from app.sandbox.worker.execution import Execution
from app.sandbox.worker.messages import Display, Output, Result
from app.sandbox.worker.worker import Worker
from tests.sandbox.fakes import chunks_of

#: Kept of what an attempt prints; the rest is counted.
_KEPT_CHARACTERS = 64 * 1024
_KEPT_OF_A_VALUE = 4096

Check = Callable[[Worker], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    Attributes:
        ends: how, in the words of ``describe``; alternatives are separated by " | ".
        says: pattern of all of stdout; None: anything.
        shows: what the bundles of displays and results have to hold, by MIME type and pattern.
        check: what to look at afterwards, in the sandbox of the attempt.
        shares: a reset takes all it leaves, so that the next attempt of this kind is made in the same sandbox.
        by_cgroup: only a cgroup stops it: the embedded sandbox where none can be written does not (ARCHITECTURE.md).
        recovers: the same session then runs another line. ("gone": it cannot, and says so.)
    """

    name: str
    code: str
    ends: str = "ok"
    says: str | None = ""
    shows: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 20
    check: Check | None = None
    recovers: bool = True
    machine: str | None = None
    shares: bool = False
    by_cgroup: bool = False

    def __str__(self) -> str:
        return self.name


class Observer:
    """A sink that a flood does not fill."""

    def __init__(self) -> None:
        self.text = {"stdout": "", "stderr": ""}
        self.characters = 0
        self.bundles: list[dict[str, str]] = []
        self.most_buffered = 0
        self.worker: Worker | None = None

    async def __call__(self, message: Output | Display | Result) -> None:
        if self.worker is not None:
            self.most_buffered = max(self.most_buffered, self.worker.statistics().buffered_bytes)
        if isinstance(message, Output):
            room = _KEPT_CHARACTERS - len(self.text[message.stream])
            self.text[message.stream] += message.text[:room]
            self.characters += len(message.text)
        elif len(self.bundles) < 1000:
            self.bundles.append({mime: str(value)[:_KEPT_OF_A_VALUE] for mime, value in message.data.items()})


def describe(execution: Execution) -> str:
    """How it ended: ok, exit, interrupted, "error ValueError", "lost InterpreterExit", "timeout", "timeout lost"."""
    words: list[str] = [execution.status]
    if execution.status in ("error", "lost"):
        assert execution.failure is not None
        words.append(execution.failure.ename)
    elif execution.state_lost:
        words.append("lost")
    return " ".join(words)


async def carry_out(attempt: Attempt, worker: Worker, prelude: str) -> Observer:
    """Run it, and compare its end with what is expected of it."""
    seen = Observer()
    seen.worker = worker
    try:
        execution = await worker.execute(
            chunks_of(prelude, attempt.code), block="attempt", final=True, sink=seen, timeout_s=attempt.timeout_s
        )
    except SandboxGone as gone:
        end, detail = "gone", str(gone)
    else:
        end, detail = describe(execution), str(execution)
    assert end in attempt.ends.split(" | "), (end, detail, seen.text)
    if attempt.says is not None:
        assert re.fullmatch(attempt.says, seen.text["stdout"], re.DOTALL), seen.text
    for mime, pattern in attempt.shows:
        values = [bundle[mime] for bundle in seen.bundles if mime in bundle]
        assert any(re.search(pattern, value) for value in values), (mime, [value[:200] for value in values])
    return seen
