"""Supervisor. The gateway's operations on the work folder, one at a time, beside everything else that the supervisor
does.

``work_folder.py`` says what an operation does. Here it is started, carried on a piece per round of the loop, and
answered.
"""

from __future__ import annotations

from sandbox_image import orders
from sandbox_image.orders import Order
from sandbox_image.outlet import Outlet
from sandbox_image.protocol import CONTROL, FILE, ProtocolError, encode_frame, encode_message
from sandbox_image.work_folder import Job, Refused, Reply, Upload, WorkFolder, explain


class FileOperations:
    def __init__(self, folder: WorkFolder, gateway: Outlet) -> None:
        self._folder = folder
        self._gateway = gateway
        self._id = 0
        self._job: Job | None = None
        self._upload: Upload | None = None

    def __repr__(self) -> str:
        return f"<FileOperations{' working' if self._job else ' receiving' if self._upload else ''}>"

    @property
    def can_go_on(self) -> bool:
        """There is something to do, and room for what it gives."""
        return self._job is not None and not self._gateway.pending

    def start(self, op: str, order: Order) -> None:
        """
        Raises:
            ProtocolError: one is still running, or the order is incomplete.
        """
        if self._job is not None or self._upload is not None:
            raise ProtocolError("a file operation is still running")
        self._id = orders.number(order, "id")
        match op:
            case "put":
                self._upload = Upload(self._folder, orders.text(order, "path"), orders.number(order, "size"))
                self._end_if_complete(self._upload)
            case "get":
                self._job = self._folder.get(orders.text(order, "path"), orders.number(order, "limit"))
            case "list":
                self._job = self._folder.list(orders.number(order, "limit"))
            case "remove":
                self._job = self._folder.remove(orders.text(order, "path"))

    def receive(self, data: bytes | bytearray) -> None:
        """A piece of the file that is being put.

        Raises:
            ProtocolError: there is none, or it is larger than announced.
        """
        if self._upload is None:
            raise ProtocolError("a piece of a file that is not being put")
        self._upload.feed(data)
        self._end_if_complete(self._upload)

    def go_on(self) -> None:
        """To be called when ``can_go_on``."""
        assert self._job is not None
        try:
            piece = next(self._job)
        except StopIteration as end:
            self._answer(end.value)
        except (OSError, Refused) as error:
            self._answer({"ok": False, "error": explain(error)})
        else:
            if piece:
                self._gateway.write(encode_frame(FILE, piece))
            return
        self._job = None

    def _end_if_complete(self, upload: Upload) -> None:
        if not upload.remaining:
            self._upload = None
            self._answer(upload.finish())

    def _answer(self, reply: Reply) -> None:
        blank = {"t": "file", "id": self._id, "ok": True, "error": None, "size": 0}
        self._gateway.write(encode_message(CONTROL, {**blank, "entries": None, "truncated": False, **reply}))
