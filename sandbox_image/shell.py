"""Program. The language ``bash``: one persistent bash per session, fed chunk by chunk.

Bash runs a script that is a pipe. What is no file it reads character by character, and runs each command when its line
is complete: so everything is as in ``bash main.sh``, down to ``$?``, ``$_``, traps and line numbers, and there is
nothing of ours in it. A chunk has run when the blank behind it has been read, which the pipe tells: it has room for one
page, and can be written to again when nothing is in it.

A status other than zero does not stop the block, ``exit`` ends the shell, and so does an interrupt, as it ends a
script. So does the end of a script that has set a trap for its end. The next chunk then gets a new shell in the folder
of the old one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import shlex
import signal
import struct
import subprocess
import termios
from time import sleep

_PAGE = 4096
#: Behind a chunk: means nothing between two commands.
_END = b" "
#: Where a pipe that holds something can be written to (gVisor), it has to be looked at again and again.
_LOOK_S = 0.001
#: A trap that runs when the script is over; DEBUG would show a command of ours.
_LAST_TRAP = re.compile(r"\btrap\b(?s:.*)\b(?:EXIT|DEBUG|0)\b", re.IGNORECASE)
_HEREDOC = re.compile(r"<<-?[ \t]*(?:'([^'\n]+)'|\"([^\"\n]+)\"|\\?(\w+))")


class Bash:
    """A running bash. Its descriptors 1 and 2 are ours.

    Args:
        script: the path of a file that does not exist; ``$0`` is its name.
        folder: where the shell starts.
    """

    def __init__(self, script: str, folder: str) -> None:
        self._script = script
        self._folder = folder
        self._source = ""  # of the script so far
        self._complete = True  # the last chunk
        self._next_line = 0  # that bash will count
        with contextlib.suppress(FileNotFoundError):
            os.unlink(script)
        os.mkfifo(script, 0o600)
        try:
            # For reading too: else it could not be opened before bash has done so.
            self._pipe = os.open(script, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PAGE)
            try:
                self._process = subprocess.Popen(
                    ["bash", os.path.basename(script)],
                    stdin=subprocess.DEVNULL,
                    cwd=os.path.dirname(script),
                    process_group=0,
                )
                self._pidfd = os.pidfd_open(self._process.pid)
            except BaseException:
                os.close(self._pipe)
                raise
            self._poll = select.poll()
            self._poll.register(self._pipe, select.POLLOUT)
            self._poll.register(self._pidfd, select.POLLIN)
            home = f"cd -- {shlex.quote(folder)}; unset OLDPWD; declare -x OLDPWD; : bash"
            self._send(os.fsencode(home) + b"\n")
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(script)

    @property
    def folder(self) -> str:
        """Where the shell is, or was last known to be."""
        with contextlib.suppress(OSError):
            self._folder = os.readlink(f"/proc/{self._process.pid}/cwd")
        return self._folder

    def begin_script(self) -> None:
        """The chunks that follow are of another program."""
        self._source = ""
        self._next_line = 0

    def run(self, source: str, line: int) -> bool:
        """Run a chunk, which starts on ``line``; False if the shell has ended. Interruptible."""
        if line != self._next_line and not self._send(_count_from(line)):
            return False
        source = source.replace("\0", "")
        self._source += source
        self._next_line = line + source.count("\n")
        self._complete = _is_complete(source)
        text = source.encode("utf-8", "replace")
        if not self._complete:  # all that follows would be part of it
            running = self._send(text, end=b"")
        else:
            running = self._send(text if source.endswith("\n") else text + b"\n")
        _ = self.folder
        return running

    def finish_script(self) -> tuple[int, bool]:
        """The exit status of the script, which is over, and whether the shell goes on. Interruptible."""
        if _LAST_TRAP.search(self._source) or not self._complete:
            _ = self.folder
            os.close(self._pipe)
            self._pipe = -1
            return self._wait(), False
        report = f"{self._script}.status"
        # A group, so that "set -x" traces nothing of it.
        command = f'{{ builtin printf %s "$?" >|{shlex.quote(report)}; }} 2>/dev/null\n'
        if not self._send(os.fsencode(command)):
            return self._wait(), False
        try:
            with open(report, encoding="ascii") as file:
                return int(file.read()), True
        except (OSError, ValueError):
            return 0, True  # nothing is run after "set -n", and nothing written where there is no room
        finally:
            with contextlib.suppress(OSError):
                os.unlink(report)

    def end(self, number: int = signal.SIGINT) -> int:
        """Stop it and what runs in its foreground; returns its exit status as a script's caller sees it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        return self.close()

    def close(self) -> int:
        """Wait for it."""
        status = self._wait()
        for fd in (self._pipe, self._pidfd):
            if fd >= 0:
                os.close(fd)
        return status

    def _wait(self) -> int:
        status = self._process.wait()
        return status if status >= 0 else 128 - status

    def _send(self, data: bytes, *, end: bytes = _END) -> bool:
        """Returns when bash has read and run it; False if it has ended."""
        view = memoryview(data + end)
        while True:
            while True:
                ready = dict(self._poll.poll())
                if self._pidfd in ready:
                    return False
                if self._is_empty():
                    break
                sleep(_LOOK_S)
            if not view:
                return True
            view = view[os.write(self._pipe, view[:_PAGE]) :]

    def _is_empty(self) -> bool:
        (count,) = struct.unpack("i", fcntl.ioctl(self._pipe, termios.FIONREAD, b"\0" * 4))
        return bool(count == 0)


def _count_from(line: int) -> bytes:
    """Makes the next line that one. Assigned anywhere else, the number is put back by the command that did it."""
    return b'{ : bash; } 2>/dev/null <<<"$((LINENO=%d))"\n' % (line - 1)


def _is_complete(source: str) -> bool:
    """Is the last command over, or would what follows belong to it until the end of the file?"""
    if source.endswith("\\"):
        return False
    for match in _HEREDOC.finditer(source):
        delimiter = match[1] or match[2] or match[3]
        if not re.search(rf"^\t*{re.escape(delimiter)}$", source[match.end() :], re.MULTILINE):
            return False
    return True
