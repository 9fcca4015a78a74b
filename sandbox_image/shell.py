"""Program. The language ``bash``: one persistent bash per session, fed chunk by chunk.

A chunk is run as the part of a script: a status other than zero does not stop the block (there is no ``set -e`` unless
the script says it), ``exit`` ends the shell, and an interrupt ends it as well, as it ends a script. The next chunk then
gets a new shell in the folder of the old one.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess

#: High, so that scripts that use 3 to 9 for their own ends do not meet them.
_CODE_FD, _STATUS_FD = 198, 199
#: NUL-terminated chunks come in, statuses and folders go out. Commands see neither descriptor. All on one line: then
#: the line numbers that bash reports are those of the chunk.
_DRIVER = (
    f"while IFS= read -r -d '' -u {_CODE_FD} EAGER_CODE; do "
    f'eval "$EAGER_CODE" {_CODE_FD}<&- {_STATUS_FD}>&-; '
    f'builtin printf \'%s %s\\0\' "$?" "$PWD" >&{_STATUS_FD}; done'
)


class Bash:
    """A running bash. Its descriptors 1 and 2 are ours."""

    def __init__(self, name: str, folder: str) -> None:
        code, self._code = os.pipe()
        self._status, status = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["bash", "--noprofile", "--norc", "-c", _plumbing(code, status), name],
                stdin=subprocess.DEVNULL,
                cwd=folder,
                pass_fds=(code, status),
                process_group=0,
            )
        finally:
            os.close(code)
            os.close(status)
        self.folder = folder
        self._pidfd = os.pidfd_open(self._process.pid)

    def run(self, source: str, line: int) -> int | None:
        """Exit status of the chunk, which starts on ``line``; None if the shell has ended. Interruptible."""
        self._send(("\n" * (line - 1) + source).replace("\0", "").encode("utf-8", "replace") + b"\0")
        answer = b""
        while not answer.endswith(b"\0"):
            ready, _, _ = select.select([self._status, self._pidfd], [], [])
            if self._status not in ready:
                return None
            data = os.read(self._status, 65536)
            if not data:
                self._process.wait()
                return None
            answer += data
        status, _, folder = answer.decode("utf-8", "surrogateescape")[:-1].partition(" ")
        self.folder = folder
        return int(status)

    def end(self, number: int = signal.SIGINT) -> int:
        """Stop it and what runs in its foreground; returns its exit status as a script's caller sees it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        return self.close()

    def close(self) -> int:
        """Wait for it."""
        status = self._process.wait()
        for fd in (self._code, self._status, self._pidfd):
            os.close(fd)
        return status if status >= 0 else 128 - status

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        with contextlib.suppress(BrokenPipeError):  # it is ending: seen by the caller
            while view:
                view = view[os.write(self._code, view) :]


def _plumbing(code: int, status: int) -> str:
    return f"exec {_CODE_FD}<&{code} {_STATUS_FD}>&{status} {code}<&- {status}>&-; {_DRIVER}"
