"""Keys in a file, which may be changed while the gateway runs: it is read again when it changes, and on SIGHUP.

The file is a JSON list as of the setting, or has an entry on each line (a key, ``sha256:<hex>`` or a JSON object) and
comments that begin with ``#``. A file that cannot be read, or holds what is no key, changes nothing: the keys from
before go on, and the log says why. So it can be written in place; to rename a finished one over it is better still.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from app.api.edge.auth import Keyring, split_keys

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0


class KeyFile:
    """Feeds a keyring, together with the keys that are ``configured`` elsewhere."""

    def __init__(self, path: Path, keyring: Keyring, *, configured: Sequence[str] = ()) -> None:
        """Reads the file for the first time.

        Raises:
            OSError, ValueError: it cannot be read, or holds what is no key.
        """
        self._path = path
        self._keyring = keyring
        self._configured = configured
        self._asked = asyncio.Event()
        self._seen = self._look()
        self._read()

    def __repr__(self) -> str:
        return f"<KeyFile {self._path}>"

    @contextmanager
    def on_hangup(self) -> Iterator[None]:
        """SIGHUP means to read the file at once."""
        loop = asyncio.get_running_loop()
        before = None
        with suppress(ValueError, RuntimeError):  # not in the main thread: changes are seen all the same
            before = signal.getsignal(signal.SIGHUP)
            loop.add_signal_handler(signal.SIGHUP, self._asked.set)
        try:
            yield
        finally:
            if before is not None:
                loop.remove_signal_handler(signal.SIGHUP)
                signal.signal(signal.SIGHUP, before)

    async def watch(self, *, every_s: float = LOOK_EVERY_S) -> NoReturn:
        """Until it is cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._asked.wait()
            asked = self._asked.is_set()
            self._asked.clear()
            await self.look_again(asked=asked)

    async def look_again(self, *, asked: bool = False) -> None:
        """Read the file if it is another one than before, or somebody asked for that."""
        found = await asyncio.to_thread(self._look)
        if found == self._seen and not asked:
            return
        self._seen = found
        try:
            await asyncio.to_thread(self._read)
        except (OSError, ValueError) as error:
            log.error("the API keys stay as they were: %s: %s", self._path, error)
        else:
            log.info("%d API keys since %s was read again", len(self._keyring), self._path)

    def _read(self) -> None:
        self._keyring.replace([*self._configured, *entries_of(self._path.read_text())])

    def _look(self) -> tuple[int, ...] | None:
        """What tells one content from another, without reading it."""
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


@asynccontextmanager
async def keys_followed(path: Path | None, keyring: Keyring, *, configured: Sequence[str]) -> AsyncIterator[None]:
    """The keyring has the keys of a file, if there is one, and follows its changes.

    Raises:
        OSError, ValueError: as ``KeyFile``.
    """
    if path is None:
        yield
        return
    file = KeyFile(path, keyring, configured=configured)
    with file.on_hangup():
        watching = asyncio.create_task(file.watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])


def entries_of(text: str) -> tuple[str, ...]:
    """The entries of a file.

    Raises:
        ValueError: it begins like a JSON list and is none.
    """
    if text.lstrip().startswith("["):
        return split_keys(text)
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
