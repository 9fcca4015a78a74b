"""What attempts look at afterwards, in their own sandbox."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from app.errors import SandboxGone
from app.sandbox.worker.worker import Worker
from tests.attacks.attempt import Check
from tests.sandbox.backends import printed

_MEBIBYTE = 1 << 20


async def reset_ends_everything(worker: Worker) -> None:
    """A reset leaves the supervisor and a fresh interpreter, and bubblewrap's first process where there is one."""
    await worker.reset()
    count = "import os\nprint()\nprint(sum(name.isdigit() for name in os.listdir('/proc')))\n"
    assert int((await printed(worker, count)).split()[-1]) <= 3  # what was printed before the reset may come first


async def dies_at_the_next_word(worker: Worker) -> None:
    """The true end of an execution comes after the forged one, when nothing runs: a violation."""
    with contextlib.suppress(SandboxGone):
        await printed(worker, "import time\ntime.sleep(5)\n")
    assert worker.death is not None


def then(code: str, says: str) -> Check:
    """The next block of the same session."""

    async def check(worker: Worker) -> None:
        assert await printed(worker, code) == says

    return check


def after_reset(code: str, says: str) -> Check:
    """The next interpreter of the same sandbox."""

    async def check(worker: Worker) -> None:
        await worker.reset()
        assert await printed(worker, code) == says

    return check


async def _ignore(piece: bytes) -> None:
    pass


def not_got(*paths: str) -> Check:
    """The gateway cannot be made to read these."""

    async def check(worker: Worker) -> None:
        for path in paths:
            reply = await worker.get_file(path, limit_bytes=_MEBIBYTE, sink=_ignore)
            assert not reply.ok, (path, reply)

    return check


def not_put(*paths: str) -> Check:
    """The gateway cannot be made to write there."""

    async def check(worker: Worker) -> None:
        for path in paths:
            reply = await worker.put_file(path, 7, _content())
            assert not reply.ok, (path, reply)

    return check


def put_then(path: str, code: str, says: str) -> Check:
    """The gateway writes there; code then sees what that did."""

    async def check(worker: Worker) -> None:
        reply = await worker.put_file(path, 7, _content())
        assert reply.ok, reply
        assert await printed(worker, code) == says

    return check


async def _content() -> AsyncIterator[bytes]:
    yield b"planted"


def listed(*expected: str, truncated: bool = False) -> Check:
    async def check(worker: Worker) -> None:
        reply = await worker.list_files(1000)
        assert reply.entries is not None
        assert [entry.path for entry in reply.entries] == list(expected)
        assert reply.truncated == truncated

    return check


def listing_is_bounded(most: int) -> Check:
    async def check(worker: Worker) -> None:
        reply = await worker.list_files(most)
        assert reply.entries is not None
        assert len(reply.entries) <= most
        assert reply.truncated

    return check


def all_of(*checks: Check) -> Check:
    async def check(worker: Worker) -> None:
        for one in checks:
            await one(worker)

    return check


async def race_reads_only_its_own(worker: Worker) -> None:
    """``real/passwd`` is the sandbox's file, or a link to the system's: never the latter."""
    for _ in range(100):
        pieces: list[bytes] = []

        async def keep(piece: bytes, pieces: list[bytes] = pieces) -> None:
            pieces.append(piece)

        reply = await worker.get_file("real/passwd", limit_bytes=_MEBIBYTE, sink=keep)
        assert not reply.ok or b"".join(pieces) == b"mine"
