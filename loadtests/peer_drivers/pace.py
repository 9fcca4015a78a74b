"""What the drivers share: jobs from stdin, results to stdout, and the pace of a model. Standard library only.

A job is ``{"code", "tps", "chars"}``; ``tps`` 0 asks for the CPU time of detection alone, nothing being executed, and
``limit_s`` bounds it. What is told of a paced run, times in seconds on one clock:

    sent_s       when each token was handed over
    starts       when the execution of each top-level statement began, in their order
    end_s        when the whole of it had run
    stdout       what it printed
    error        the error it ended with, or null
and of an unpaced one ``{"cpu_us", "tokens"}``: microseconds per token, and the tokens that it got to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

Job = dict[str, object]
Told = dict[str, object]

clock = time.monotonic


def tokens_of(code: str, chars: int) -> list[str]:
    return [code[at : at + chars] for at in range(0, len(code), chars)]


async def paced(tokens: list[str], tps: float, sent_s: list[float]) -> AsyncIterator[str]:
    """The tokens at their times: the schedule is absolute, so that lateness does not add up."""
    began = clock()
    for number, token in enumerate(tokens, 1):
        await asyncio.sleep(max(0.0, began + number / tps - clock()))
        sent_s.append(clock())
        yield token


async def cpu_of(
    tokens: list[str], feed: Callable[[str], Awaitable[None]] | Callable[[str], None], limit_s: float
) -> Told:
    began = time.process_time()
    fed = 0
    for token in tokens:
        waited = feed(token)
        if waited is not None:
            await waited
        fed += 1
        if time.process_time() - began > limit_s:
            break
    return {"cpu_us": (time.process_time() - began) / fed * 1e6, "tokens": fed}


@contextlib.contextmanager
def _answers() -> Iterator[Callable[[Told], None]]:
    """Answers go to the real stdout; whatever else a library prints goes to stderr."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        sys.stdout = sys.stderr

        def tell(told: Told) -> None:
            answers.write(json.dumps(told) + "\n")
            answers.flush()

        yield tell


def serve(run: Callable[[Job], Awaitable[Told]]) -> None:
    """Answer each line of stdin, until it ends. The first line out says that the driver is loaded."""
    with _answers() as tell, asyncio.Runner() as runner:
        tell({"ready": True})
        for line in sys.stdin:
            tell(runner.run(_answered(run, json.loads(line))))


async def _answered(run: Callable[[Job], Awaitable[Told]], job: Job) -> Told:
    return await run(job)
