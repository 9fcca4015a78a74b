"""Supervisor. The work folder at one moment, and the way back to it.

It is taken while no code of the user runs, and put back when none is left alive, so nothing changes meanwhile; what is
found was made by that code all the same: links are never followed. The bytes are kept in a file without a name that
only the supervisor holds, out of the reach of user code.

A file that is still the same one is rewritten in place: the program may hold it open.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Final

#: A copy of it lies in the memory of the sandbox, and is made anew for every checkpoint.
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_ENTRIES: Final = 4096
MAX_DEPTH: Final = 32
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_REWRITE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_TRUNC | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TooMuch(Exception):
    """The work folder is not one we take a snapshot of; the message says why."""


@dataclass(slots=True)
class _SavedEntry:
    """A file (its bytes in the store), a symbolic link (its target) or a folder (what is in it)."""

    status: os.stat_result
    offset: int = 0
    target: str = ""
    entries: dict[str, _SavedEntry] = field(default_factory=dict)

    def is_still(self, status: os.stat_result, name: str, folder: int) -> bool:
        """Can what is there now be made into this one?"""
        if stat.S_IFMT(status.st_mode) != stat.S_IFMT(self.status.st_mode):
            return False
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(name, dir_fd=folder) == self.target
        return stat.S_ISDIR(status.st_mode) or os.path.samestat(status, self.status)


class Snapshot:
    def __init__(self, folder: int, owner: int | None) -> None:
        """
        Args:
            folder: descriptor of the work folder.
            owner: of what has to be made anew, if that is not us.

        Raises:
            TooMuch: it is above the limits, or holds what cannot be put back.
            OSError: it cannot be read or stored.
        """
        self._folder = folder
        self._owner = owner
        self._size = self._count = 0
        self._store = os.memfd_create("snapshot", os.MFD_CLOEXEC)
        try:
            self._top = _SavedEntry(os.fstat(folder), entries=self._take(folder, 1))
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Snapshot of {self._count} entries, {self._size} bytes>"

    def close(self) -> None:
        os.close(self._store)

    def restore(self) -> None:
        """Raises OSError: not everything could be put back."""
        os.fchmod(self._folder, stat.S_IMODE(self._top.status.st_mode) | 0o700)
        self._prune(self._folder, self._top)  # first, and everywhere: what follows needs the room
        self._put_back(self._folder, self._top)

    # Taking it.

    def _take(self, folder: int, depth: int) -> dict[str, _SavedEntry]:
        if depth > MAX_DEPTH:
            raise TooMuch(f"the work folder is deeper than {MAX_DEPTH} folders")
        entries = {}
        with os.scandir(folder) as found:
            for item in found:
                self._count += 1
                if self._count > MAX_ENTRIES:
                    raise TooMuch(f"the work folder holds more than {MAX_ENTRIES} files")
                entries[item.name] = self._entry(item.name, item.stat(follow_symlinks=False), folder, depth)
        return entries

    def _entry(self, name: str, status: os.stat_result, folder: int, depth: int) -> _SavedEntry:
        if stat.S_ISLNK(status.st_mode):
            return _SavedEntry(status, target=os.readlink(name, dir_fd=folder))
        if stat.S_ISDIR(status.st_mode):
            below = os.open(name, _FOLDER, dir_fd=folder)
            try:
                return _SavedEntry(status, entries=self._take(below, depth + 1))
            finally:
                os.close(below)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise TooMuch("the work folder holds a special file or one with several names")
        if self._size + status.st_size > MAX_BYTES:
            raise TooMuch(f"the files in the work folder are larger than {MAX_BYTES >> 20} MiB")
        offset = self._size
        self._size += status.st_size
        file = os.open(name, _READ, dir_fd=folder)
        try:
            _copy(file, 0, self._store, status.st_size)
        finally:
            os.close(file)
        return _SavedEntry(status, offset)

    # Putting it back.

    def _prune(self, folder: int, wanted: _SavedEntry) -> None:
        """Remove what was not there, and empty what is to be rewritten."""
        for name in os.listdir(folder):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            entry = wanted.entries.get(name)
            if entry is None or not entry.is_still(status, name, folder):
                self._remove(name, status, folder)
            elif stat.S_ISDIR(status.st_mode):
                below = _enter(name, folder)
                try:
                    self._prune(below, entry)
                finally:
                    os.close(below)
            elif stat.S_ISREG(status.st_mode):
                os.chmod(name, 0o600, dir_fd=folder)
                os.close(os.open(name, _REWRITE, dir_fd=folder))

    def _remove(self, name: str, status: os.stat_result, folder: int) -> None:
        """Without recursion, whatever the depth: folders in it move up and are removed in their turn."""
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=folder)
            return
        doomed = [name]
        while doomed:
            name = doomed.pop()
            below = _enter(name, folder)
            try:
                for item in os.listdir(below):
                    if stat.S_ISDIR(os.stat(item, dir_fd=below, follow_symlinks=False).st_mode):
                        os.chmod(item, 0o700, dir_fd=below)
                        doomed.append(f".doomed-{os.urandom(8).hex()}")
                        os.rename(item, doomed[-1], src_dir_fd=below, dst_dir_fd=folder)
                    else:
                        os.unlink(item, dir_fd=below)
            finally:
                os.close(below)
            os.rmdir(name, dir_fd=folder)

    def _put_back(self, folder: int, wanted: _SavedEntry) -> None:
        there = set(os.listdir(folder))
        for name, entry in wanted.entries.items():
            mode = entry.status.st_mode
            if stat.S_ISLNK(mode):
                if name not in there:
                    os.symlink(entry.target, name, dir_fd=folder)
                continue
            if stat.S_ISDIR(mode):
                if name not in there:
                    os.mkdir(name, 0o700, dir_fd=folder)
                fd = os.open(name, _FOLDER, dir_fd=folder)
            else:
                fd = os.open(name, _REWRITE if name in there else _CREATE, 0o600, dir_fd=folder)
            try:
                if self._owner is not None and name not in there:
                    os.fchown(fd, self._owner, self._owner)
                if stat.S_ISDIR(mode):
                    self._put_back(fd, entry)
                else:
                    _copy(self._store, entry.offset, fd, entry.status.st_size)
                    _dress(fd, entry)
            finally:
                os.close(fd)
        _dress(folder, wanted)


def _dress(fd: int, entry: _SavedEntry) -> None:
    os.fchmod(fd, stat.S_IMODE(entry.status.st_mode))
    os.utime(fd, ns=(entry.status.st_atime_ns, entry.status.st_mtime_ns))


def _enter(name: str, folder: int) -> int:
    os.chmod(name, 0o700, dir_fd=folder)
    return os.open(name, _FOLDER, dir_fd=folder)


def _copy(source: int, offset: int, target: int, size: int) -> None:
    end = offset + size
    while offset < end:
        sent = os.sendfile(target, source, offset, end - offset)
        if sent == 0:
            raise OSError("the file has shrunk")
        offset += sent
