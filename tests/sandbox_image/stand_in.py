"""The supervisor with a stand-in for the interpreter: as thin as possible, and able to misbehave on purpose.

Started as a program: ``python -I stand_in.py [--as-uid N] <options of the supervisor>``. Its code sees ``say(message)``
and ``raw(bytes)`` (its channel), ``channel`` and ``progress``.
"""

import ctypes
import json
import locale  # noqa: F401 - of argparse; later, as another user, it may be out of reach
import mmap
import os
import socket
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from sandbox_image import supervisor
from sandbox_image.protocol import HEADER, INTERPRETER, PROGRESS, encode_message


def steps(channel: socket.socket, progress: mmap.mmap, pages: object) -> Iterator[None]:
    def read(size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = channel.recv(size - len(data))
            if not piece:
                os._exit(0)
            data += piece
        return data

    def say(message: dict[str, Any]) -> None:
        channel.sendall(encode_message(INTERPRETER, message))

    namespace: dict[str, Any] = {"say": say, "raw": channel.sendall, "channel": channel, "progress": progress}
    while True:
        length, _ = HEADER.unpack(read(HEADER.size))
        message = json.loads(read(length - 1))
        number = message["id"]
        PROGRESS.pack_into(progress, 0, number, 0)
        status, ran = "ok", 0
        try:
            for ran, chunk in enumerate(message["chunks"], 1):
                exec(chunk[3], namespace)
                PROGRESS.pack_into(progress, 0, number, ran)
            sys.stdout.flush()
            sys.stderr.flush()
        except KeyboardInterrupt:
            status = "interrupted"
        except Exception as error:
            status, namespace["error"] = "error", error
        PROGRESS.pack_into(progress, 0, 0, 0)
        say({"t": "done", "id": number, "status": status, "ran": ran, "ns": []})
        yield


def become(uid: int) -> None:
    """An ordinary user, as fully as if started by one: the change of uid alone would already protect its /proc."""
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE


if __name__ == "__main__":
    if sys.argv[1] == "--as-uid":
        become(int(sys.argv[2]))
        del sys.argv[1:3]
    module = types.ModuleType("sandbox_image.interpreter")
    module.steps = steps  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    supervisor.main()
