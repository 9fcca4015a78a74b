"""A record of each execution: who ran what, where, for how long, and how it ended. The code itself is not in it.

``EAGER_DATA_DIR/audit`` has a file for each day (UTC), a JSON object on each line. Several gateways may write to one
folder: lines are appended whole. A thread writes, so a slow disk holds nobody up; what could not be written is in the
log.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from app.usage import ExecutionRecord

log = logging.getLogger(__name__)

_DAY_S = 24 * 3600.0


class Audit:
    """
    Args:
        backend: where the code runs, as in the setting.
        days: so long a file is kept; 0 means that nothing is recorded.
    """

    def __init__(self, folder: Path, *, backend: str, days: int, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._backend = backend
        self._days = days
        self._clock = clock
        self._lines: dict[str, list[str]] = {}
        self._has_lines = asyncio.Event()
        self._ended = False

    def __repr__(self) -> str:
        return f"<Audit in {self._folder}>"

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Records are written while this lasts, the last of them at its end.

        Raises:
            OSError: the folder cannot be made.
        """
        if self._days:
            await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        writing = asyncio.create_task(self._keep_writing())
        try:
            yield
        finally:
            self._ended = True
            self._has_lines.set()
            await writing

    def note(self, record: ExecutionRecord) -> None:
        """Waits for nothing."""
        if not self._days:
            return
        now = self._clock()
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        line = json.dumps({"time": round(now, 3), "backend": self._backend, **asdict(record)})
        self._lines.setdefault(day, []).append(line + "\n")
        self._has_lines.set()

    async def purge(self) -> None:
        """Remove the files that are too old."""
        await asyncio.to_thread(self._purge)

    async def _keep_writing(self) -> None:
        while self._lines or not self._ended:
            await self._has_lines.wait()
            await self._write()

    async def _write(self) -> None:
        self._has_lines.clear()
        lines, self._lines = self._lines, {}
        for day, of_day in lines.items():
            text = "".join(of_day)
            try:
                await asyncio.to_thread(_append, self._folder / f"{day}.jsonl", text)
            except OSError as error:
                log.error("executions could not be recorded: %s: %s", error, text)

    def _purge(self) -> None:
        oldest = time.strftime("%Y-%m-%d", time.gmtime(self._clock() - self._days * _DAY_S))
        for path in self._folder.glob("????-??-??.jsonl"):
            if path.stem < oldest:
                path.unlink(missing_ok=True)


def _append(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
