"""Program. The work folder of a session that is a Jupyter kernel: the operations of ``work_folder.py``, a piece per
request.

Here they run in the process of user code, between two executions: the rules of ``work_folder.py`` keep honest code from
mistakes, they do not bind hostile code.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Final

from sandbox_image.work_folder import Job, Refused, Reply, Upload, WorkFolder, explain

#: Pieces (of 64 KiB) of a file that are sent in answer to one request.
_PIECES: Final = 16


class KernelFiles:
    """``list`` and ``remove`` are answered at once. After ``get`` and ``put`` come ``more`` or ``data`` until the file
    is complete: only then there is an answer."""

    def __init__(self, path: str, send: Callable[[dict[str, Any]], None], send_data: Callable[[str], None]) -> None:
        self._folder = WorkFolder(path)
        self._send = send
        self._send_data = send_data
        self._job: Job | None = None
        self._upload: Upload | None = None

    def handle(self, message: dict[str, Any]) -> None:
        reply = self._reply(message)
        if reply is not None:
            self._job = self._upload = None
            self._send({"t": "file", "id": message["id"], "ok": True, **reply})

    def _reply(self, message: dict[str, Any]) -> Reply | None:
        try:
            match message["op"]:
                case "list":
                    self._job = self._folder.list(message["limit"])
                case "remove":
                    self._job = self._folder.remove(message["path"])
                case "get":
                    self._job = self._folder.get(message["path"], message["limit"])
                case "put":
                    self._upload = Upload(self._folder, message["path"], message["size"])
                case "data":
                    assert self._upload is not None
                    self._upload.feed(base64.b64decode(message["data"]))
            if self._upload is not None:
                return None if self._upload.remaining else self._upload.finish()
            return self._advance(whole=message["op"] in ("list", "remove"))
        except (OSError, Refused) as error:
            return {"ok": False, "error": explain(error)}

    def _advance(self, *, whole: bool) -> Reply | None:
        assert self._job is not None
        pieces = b""
        reply: Reply | None = None
        try:
            for _ in range(_PIECES):
                pieces += next(self._job)
            while whole:
                next(self._job)
        except StopIteration as end:
            reply = end.value
        finally:
            if pieces:
                self._send_data(base64.b64encode(pieces).decode())
        return reply
