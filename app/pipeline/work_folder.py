"""What code did to the files of its work folder, by two listings of it.

The first is made when a piece of code begins, while its first statement is being written; the second at its end, which
is also the first of the next piece.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from app.events import FileChange
from app.sandbox.session import Session

#: Files of one listing. A folder with more is not watched: which of them a listing holds is chance then, and it takes
#: time (some 0.1 ms without files, 0.5 with 100, 7 with 1000).
FILES_LIMIT = 256
#: Changes that one event tells of; more are left out.
CHANGES_LIMIT = 100


class _File(NamedTuple):
    size: int
    mtime_ns: int


class WorkFolderWatch:
    """Of one session, for as long as nobody else uses it."""

    def __init__(self) -> None:
        self._files: Mapping[str, _File] | None = None

    async def begin(self, session: Session) -> None:
        """Code is about to run.

        Raises:
            SandboxError: the sandbox failed.
        """
        if self._files is None:
            self._files = await _list(session)

    async def changes(self, session: Session) -> list[FileChange] | None:
        """What has changed since the last call, by path; None if that is not known.

        Raises:
            SandboxError: the sandbox failed.
        """
        before, self._files = self._files, await _list(session)
        if before is None or self._files is None:
            return None
        return _difference(before, self._files)[:CHANGES_LIMIT]


def is_hidden(path: str) -> bool:
    """Caches and settings of libraries, and what the program's own modules were compiled to: nobody asked for them."""
    return any(step.startswith(".") or step == "__pycache__" for step in path.split("/"))


async def _list(session: Session) -> Mapping[str, _File] | None:
    """What cannot be named (a path that is too long, a folder that is closed to us) is passed over."""
    reply = await session.list_files(FILES_LIMIT)
    entries = reply.entries or ()
    if not reply.ok or (reply.truncated and len(entries) >= FILES_LIMIT):
        return None
    return {entry.path: _File(entry.size, entry.mtime_ns) for entry in entries if not is_hidden(entry.path)}


def _difference(before: Mapping[str, _File], after: Mapping[str, _File]) -> list[FileChange]:
    changes = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old != new:
            change: Literal["created", "changed", "deleted"]
            change = "created" if old is None else "deleted" if new is None else "changed"
            changes.append(FileChange(path=path, change=change, bytes=new.size if new is not None else None))
    return changes
