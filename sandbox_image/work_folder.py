"""Both. The work folder, as the supervisor may touch it. Its content is hostile: user code changes it while we look.

Rules.
1. A path is opened one component at a time, each relative to the descriptor of the folder before it and never through
   a symbolic link. What is reached is below the work folder at that moment, whatever is renamed meanwhile.
2. Only regular files with one name are read: a second name (hard link) may belong to a file outside.
3. A file appears under its name when it is complete (temporary name, then rename, which replaces a link, not its
   target).
4. Whatever takes long is a generator that yields now and then, so that the supervisor's loop goes on.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final

from sandbox_image.protocol import MAX_DATA_BYTES, ProtocolError
from sandbox_image.snapshot import Snapshot

#: Fields of a ``file`` message.
Reply = dict[str, Any]
#: Yields bytes of a file, or nothing (b"") to let others work; returns the answer.
Job = Generator[bytes, None, Reply]

#: Together they keep a listing below MAX_FRAME_BYTES: JSON needs at most six characters for a byte of a name.
MAX_ENTRIES: Final = 10_000
MAX_PATH_BYTES: Final = 1024
MAX_DEPTH: Final = 32
#: Entries looked at for one listing, whether they are files or not.
_MAX_VISITED: Final = 100_000
_VISITED_PER_STEP: Final = 256
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: O_NONBLOCK: opening a FIFO must not wait for its other end.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


#: A byte above 127, as ``_as_text`` tells it.
_ESCAPED: Final = re.compile(r"\\x([89a-f][0-9a-f])")


class Refused(Exception):
    """The path or the file is not one we touch; the message says why."""


def explain(error: OSError | Refused) -> str:
    """For the client. File names of OSErrors are ours (components, temporary names) and are left out."""
    return error.strerror or "I/O error" if isinstance(error, OSError) else str(error)


def split_path(path: str) -> tuple[Sequence[str], str]:
    """Folders and name of a path relative to the work folder.

    Raises:
        Refused: it could leave the folder, or is not a usable name.
    """
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise Refused("the path is not valid Unicode") from None
    if size > MAX_PATH_BYTES:
        raise Refused(f"the path is longer than {MAX_PATH_BYTES} bytes")
    if path.startswith("/"):
        raise Refused("the path is not relative to the work folder")
    parts = path.split("/")
    if "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise Refused("the path has an empty, '.' or '..' component or a null character")
    if len(parts) > MAX_DEPTH:
        raise Refused(f"the path is deeper than {MAX_DEPTH} folders")
    return parts[:-1], parts[-1]


def open_folder(name: str, parent: int) -> int:
    """The folder ``name`` in the folder ``parent``, never through a link.

    In two steps, because gVisor's O_NOFOLLOW does follow a link to a folder where O_DIRECTORY is asked for as well,
    unless O_PATH is, too.
    """
    place = os.open(name, _FOLDER | os.O_PATH, dir_fd=parent)
    try:
        return os.open(".", _FOLDER, dir_fd=place)
    finally:
        os.close(place)


class WorkFolder:
    """File operations below one folder.

    Raises:
        OSError: the folder cannot be opened or written to.
    """

    def __init__(self, path: str, owner: int | None = None) -> None:
        """``owner`` is the uid of user code where that is not ours: it is given the folder and what is put there."""
        self._fd = os.open(path, _FOLDER)
        self._owner = owner
        if owner is not None:
            os.fchown(self._fd, owner, owner)
        if not os.access(".", os.W_OK, dir_fd=self._fd):
            raise PermissionError(f"no permission to write to {path}")

    def get(self, path: str, limit: int) -> Job:
        """The bytes of a file, unless there are more than ``limit``."""
        folders, name = split_path(path)
        with self._folder(folders) as folder:
            fd = os.open(_on_disk(name, folder), _READ, dir_fd=folder)
        try:
            status = os.fstat(fd)
            if not _is_plain(status):
                raise Refused("not a regular file with one name (hard links are not read)")
            if status.st_size > limit:
                raise Refused(f"the file is larger than {limit} bytes")
            sent = 0
            while piece := os.read(fd, MAX_DATA_BYTES):
                sent += len(piece)
                if sent > limit:
                    raise Refused(f"the file has grown beyond {limit} bytes")
                yield piece
            return {"size": sent}
        finally:
            os.close(fd)

    def list(self, limit: int) -> Job:
        """Files that ``get`` would read, by path. ``truncated``: there are others."""
        entries: list[dict[str, Any]] = []
        limit = min(limit, MAX_ENTRIES)
        truncated = False
        with contextlib.closing(_walk(os.open(".", _FOLDER, dir_fd=self._fd), "", 1)) as walk:
            for visited, (path, status) in enumerate(walk, 1):
                if path is None:
                    truncated = True
                elif _is_plain(status):
                    if len(entries) == limit:
                        truncated = True
                        break
                    entries.append({"path": path, "size": status.st_size, "mtime_ns": status.st_mtime_ns})
                if visited == _MAX_VISITED:
                    truncated = True
                    break
                if visited % _VISITED_PER_STEP == 0:
                    yield b""
        entries.sort(key=lambda entry: str(entry["path"]))
        return {"entries": entries, "truncated": truncated}

    def remove(self, path: str) -> Job:
        """Remove a file, or the link itself."""
        folders, name = split_path(path)
        with self._folder(folders) as folder:
            os.unlink(_on_disk(name, folder), dir_fd=folder)
        yield b""
        return {}

    def create(self, path: str) -> NewFile:
        """A file that is yet to be filled; folders that lack are made."""
        folders, name = split_path(path)
        with self._folder(folders, create=True) as folder:
            return NewFile(os.dup(folder), _on_disk(name, folder), self._owner)

    def snapshot(self) -> Snapshot:
        """See there for what it raises."""
        return Snapshot(self._fd, self._owner)

    @contextlib.contextmanager
    def _folder(self, names: Sequence[str], *, create: bool = False) -> Iterator[int]:
        fd = os.dup(self._fd)
        try:
            for step in names:
                name = _on_disk(step, fd)
                made = False
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, 0o755, dir_fd=fd)
                        made = True
                below = open_folder(name, fd)
                os.close(fd)
                fd = below
                if made and self._owner is not None:
                    os.fchown(fd, self._owner, self._owner)
            yield fd
        finally:
            os.close(fd)


class NewFile:
    """A file under a temporary name until it is complete. Owns ``folder``, a descriptor."""

    def __init__(self, folder: int, name: str, owner: int | None) -> None:
        self._folder = folder
        self._name = name
        self._temporary = f".put-{os.urandom(8).hex()}"
        try:
            self._fd = os.open(self._temporary, _CREATE, 0o644, dir_fd=folder)
        except OSError:
            os.close(folder)
            raise
        if owner is not None:
            os.fchown(self._fd, owner, owner)

    def write(self, data: bytes | bytearray) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def complete(self) -> None:
        """Give it its name. After an error it still is to be discarded."""
        os.rename(self._temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._close()

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # user code has removed it, put a folder in its place or closed the folder
            os.unlink(self._temporary, dir_fd=self._folder)
        self._close()

    def _close(self) -> None:
        os.close(self._fd)
        os.close(self._folder)


class Upload:
    """One ``put``: takes exactly the announced bytes, also when it has failed, so that the stream stays in step."""

    def __init__(self, folder: WorkFolder, path: str, size: int) -> None:
        self.remaining = size
        self._size = size
        self._file: NewFile | None = None
        self._error: str | None = None
        try:
            self._file = folder.create(path)
        except (OSError, Refused) as error:
            self._error = explain(error)

    def feed(self, data: bytes | bytearray) -> None:
        """Take the next bytes.

        Raises:
            ProtocolError: more than was announced.
        """
        if len(data) > self.remaining:
            raise ProtocolError(f"{len(data)} bytes of a file of which {self.remaining} remain")
        self.remaining -= len(data)
        if self._file is not None:
            try:
                self._file.write(data)
            except OSError as error:
                self._fail(self._file, error)

    def finish(self) -> Reply:
        """To be called once, when nothing remains."""
        if self._file is not None:
            try:
                self._file.complete()
            except OSError as error:
                self._fail(self._file, error)
        return {"size": self._size} if self._error is None else {"ok": False, "error": self._error}

    def _fail(self, file: NewFile, error: OSError) -> None:
        self._error = explain(error)
        self._file = None
        file.discard()


def _is_plain(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _walk(folder: int, prefix: str, depth: int) -> Generator[tuple[str | None, os.stat_result], None, None]:
    """Everything below ``folder``, a descriptor it owns. No path: that one cannot be named, or not be entered."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # removed meanwhile
                    continue
                path = prefix + _as_text(entry.name)
                yield path if len(path.encode()) <= MAX_PATH_BYTES else None, status
                if not stat.S_ISDIR(status.st_mode):
                    continue
                below = _open_folder(entry.name, folder) if depth < MAX_DEPTH else None
                if below is None:
                    yield None, status
                else:
                    yield from _walk(below, path + "/", depth + 1)
    finally:
        os.close(folder)


def _open_folder(name: str, parent: int) -> int | None:
    try:
        return open_folder(name, parent)
    except OSError:
        return None


def _as_text(name: str) -> str:
    """Names are bytes. In one that is no UTF-8, which many readers of JSON refuse, such a byte is told as ``\\xff``."""
    return name if name.isascii() else os.fsencode(name).decode(errors="backslashreplace")


def _on_disk(name: str, folder: int) -> str:
    """The other way: the name itself, unless only the one that is told so is there."""
    if not _ESCAPED.search(name) or _exists(name, folder):
        return name
    text = _ESCAPED.sub(lambda byte: bytes.fromhex(byte[1]).decode(errors="surrogateescape"), name)
    # Bytes side by side may be a character together: they are read once more as they would be on the disk.
    other = os.fsdecode(os.fsencode(text))
    return other if _exists(other, folder) else name


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True
