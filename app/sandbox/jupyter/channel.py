"""A Jupyter kernel as a sandbox: takes the supervisor's part of the protocol, here in the gateway.

``Worker`` speaks frames to it as to any supervisor; they become calls of ``sandbox_image/kernel.py``, and what the
kernel publishes becomes frames. Like a supervisor it replaces a lost interpreter: by another kernel.

Rules.
1. An execution is over when its call is idle *and* every interrupt sent to it has been answered: an interrupt that came
   late would hit the next one. Only then ``done`` is passed on.
2. An interrupt is held back until the execution has begun: an idle kernel would ignore it.
3. A call that ends without ``done`` has broken its kernel, which is replaced.
4. Kernels publish without waiting for those who listen. Nothing can slow them down, so output that the sink has not
   taken waits here, up to the worker's limit of output per execution. Files are fetched piece by piece.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Literal
from uuid import uuid4

from app.errors import SandboxStartError
from app.sandbox.jupyter.kernel import Kernel, KernelMessage, KernelRequest, OpenKernel, boot_code, call, cell, request
from app.sandbox.worker.transport import Channel
from sandbox_image.kernel import DATA_MIME, MESSAGE_MIME, PROGRESS_MIME
from sandbox_image.protocol import (
    CONTROL,
    FILE,
    INTERPRETER,
    MAX_DATA_BYTES,
    STDERR,
    STDOUT,
    FrameDecoder,
    encode_message,
)

#: Until the kernel's publisher knows us, what it says is lost: ask again after this long.
_ASK_AGAIN_S: Final = 0.2
#: Pieces of a file being put (64 KiB each) that may be on their way.
_PIECES: Final = 16
_STREAMS: Final = {"stdout": STDOUT, "stderr": STDERR}
Reason = Literal["exit", "signal", "reset", "protocol"]


class KernelChannel(Channel):
    """``run()`` is its life, to be run as a task."""

    def __init__(
        self, open_kernel: OpenKernel, *, folder: str | None, start_timeout_s: float, preload: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self._open_kernel = open_kernel
        self._folder = folder
        self._start_timeout_s = start_timeout_s
        self._preload = preload
        self._session = uuid4().hex
        self._orders = FrameDecoder()
        self._kernel: Kernel | None = None
        self._heard = asyncio.Event()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._calls: set[str] = set()
        self._interrupts: set[str] = set()
        self._forget()

    def __repr__(self) -> str:
        return f"<KernelChannel {self._closed or 'open'}, {len(self._calls)} calls>"

    def _forget(self) -> None:
        """What was in flight is over."""
        self._calls.clear()
        self._interrupts.clear()
        self._execution: int | None = None
        self._begun = False
        self._interrupted = False
        self._done: bytes | None = None
        self._ran = 0
        self._error = ""
        self._file: dict[str, Any] | None = None  # the operation in progress

    async def run(self) -> None:
        """Keep a kernel, until cancelled or until none can be had."""
        try:
            while True:
                await self._live()
        except SandboxStartError as error:
            self.abort(error.message)

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        self._ready, self._lost = loop.create_future(), loop.create_future()
        self._heard.clear()
        kernel = self._kernel = await self._open_kernel(self)
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await self._boot()
            await self._lost
        except TimeoutError:
            raise SandboxStartError(f"the kernel was not ready within {self._start_timeout_s:g} s") from None
        finally:
            self._kernel = None
            await _to_the_end(kernel.close())

    async def _boot(self) -> None:
        while not self._heard.is_set() and not self._ready.done():
            self._send("shell", request("kernel_info_request", {}, session=self._session))
            try:
                async with asyncio.timeout(_ASK_AGAIN_S):
                    await self._heard.wait()
            except TimeoutError:
                continue
        self._request(cell(boot_code(self._folder, self._preload), session=self._session))
        await self._ready

    # ------------------------------------------------- what the worker says

    def send(self, data: bytes) -> None:
        for kind, payload in self._orders.feed(data):
            if self._kernel is None or self._closed is not None:
                continue
            if kind == FILE:
                assert self._file is not None
                self._call({**self._file, "op": "data", "data": base64.b64encode(payload).decode()})
                if len(self._calls) >= _PIECES:
                    self.pause_writing()
            else:
                self._obey(json.loads(payload))

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._go_on()

    def _obey(self, message: dict[str, Any]) -> None:
        match message["op"]:
            case "execute":
                self._forget()
                self._execution = message["id"]
                self._call(message)
            case "interrupt" if message["id"] == self._execution:
                self._interrupted = True
                self._interrupt()
            case "reset":
                self._lose("reset", "")
            case "ping":
                self._say(CONTROL, {"t": "pong", "id": message["id"]})
            case "checkpoint" | "commit" | "rollback":
                error = "a Jupyter kernel cannot be copied"
                self._say(CONTROL, {"t": "snapshot", "id": message["id"], "ok": False, "error": error})
            case "list" | "remove" | "get" | "put":
                self._file = message
                self._call(message)

    def _interrupt(self) -> None:
        if self._begun and self._interrupted:
            order = request("interrupt_request", {}, session=self._session)
            self._interrupts.add(order["header"]["msg_id"])
            self._send("control", order)

    def _call(self, message: dict[str, Any]) -> None:
        self._request(call(message, session=self._session))

    def _request(self, order: KernelRequest) -> None:
        self._calls.add(order["header"]["msg_id"])
        self._send("shell", order)

    def _send(self, channel: Literal["shell", "control"], order: KernelRequest) -> None:
        if self._kernel is not None:
            self._kernel.send(channel, order)

    # ------------------------------------------------- what the kernel says

    def hear(self, message: KernelMessage) -> None:
        if self._kernel is None or self._closed is not None:
            return
        if message.channel == "control" and message.parent in self._interrupts:
            self._interrupts.discard(message.parent)
            self._go_on()
        elif message.channel == "iopub":
            self._heard.set()
            self._on_published(message)

    def end(self, reason: Literal["exit", "signal"], detail: str) -> None:
        self._lose(reason, detail)

    def _on_published(self, message: KernelMessage) -> None:
        content = message.content
        match message.type:
            case "stream" if self._ready.done():
                self._on_output(_STREAMS.get(str(content.get("name")), STDOUT), str(content.get("text", "")))
            case "display_data":
                data = content.get("data")
                if isinstance(data, dict):
                    self._on_display(data, content.get("metadata"))
            case "error" if message.parent in self._calls:
                self._error = f"{content.get('ename')}: {content.get('evalue')}"
            case "status" if content.get("execution_state") in ("restarting", "dead"):
                self._lose("signal", "the kernel died")
            case "status" if content.get("execution_state") == "idle" and message.parent in self._calls:
                self._calls.discard(message.parent)
                self.resume_writing()
                self._go_on()

    def _on_output(self, stream: int, text: str) -> None:
        data = text.encode("utf-8", "replace")
        for start in range(0, len(data), MAX_DATA_BYTES):
            self._frame(stream, data[start : start + MAX_DATA_BYTES])

    def _on_display(self, data: dict[str, Any], metadata: object) -> None:
        if MESSAGE_MIME in data:
            self._on_message(str(data[MESSAGE_MIME]).encode("utf-8", "replace"))
        elif PROGRESS_MIME in data:
            self._on_progress(str(data[PROGRESS_MIME]))
        elif DATA_MIME in data:
            self._on_file_data(str(data[DATA_MIME]))
        elif self._execution is not None:  # of a library that speaks to the kernel directly
            shown = {"t": "display", "id": self._execution, "data": data, "metadata": metadata or {}}
            self._say(INTERPRETER, shown)

    def _on_message(self, payload: bytes) -> None:
        """What it is, is told by its first characters: ``json.dumps`` keeps our order, and displays can be large."""
        if payload.startswith(b'{"t": "done"'):
            self._done = payload
        elif payload.startswith(b'{"t": "ready"') and not self._ready.done():
            self._ready.set_result(None)
            self._frame(CONTROL, payload)
        elif payload.startswith(b'{"t": "file"') and self._file is not None:
            self._file = None
            self._frame(CONTROL, payload)
        else:
            self._frame(INTERPRETER, payload)

    def _on_progress(self, text: str) -> None:
        self._ran = int(text[:9]) if text.isascii() and text.isdecimal() else 0
        if not self._begun:
            self._begun = True
            self._interrupt()

    def _on_file_data(self, text: str) -> None:
        try:
            data = base64.b64decode(text, validate=True)
        except ValueError:  # binascii.Error is one, and what is said of text that is not ASCII
            return self._lose("protocol", "file data that is not base64")
        for start in range(0, len(data), MAX_DATA_BYTES):
            self._frame(FILE, data[start : start + MAX_DATA_BYTES])
        return None

    def _go_on(self) -> None:
        """Something has been answered: is what was asked for complete?"""
        if self._calls or self._interrupts:
            return
        if self._execution is not None:
            self._conclude()
        elif not self._ready.done():
            self._lose("protocol", self._error or "it does not run our code")
        elif self._file is not None:
            if self._file["op"] == "get":
                if self._reading:
                    self._call({**self._file, "op": "more"})
            elif self._file["op"] != "put":
                self._lose("protocol", self._error or "no answer")

    def _conclude(self) -> None:
        if self._done is not None:
            done = self._done
            self._forget()
            self._frame(INTERPRETER, done)
        else:
            self._lose("protocol", self._error or "the execution has no end")

    def _lose(self, reason: Reason, detail: str) -> None:
        """The kernel is of no more use; ``run`` goes on with another one."""
        if self._kernel is None:
            return
        self._kernel.kill()
        self._kernel = None
        lost = {"t": "lost", "id": self._execution, "ran": self._ran, "reason": reason, "detail": detail}
        self._forget()
        if self._ready.done():
            self._lost.set_result(None)
            self._say(CONTROL, lost)
        else:
            self._heard.set()
            self._ready.set_exception(SandboxStartError(f"the kernel did not start: {detail}"))

    def _say(self, kind: int, message: dict[str, Any]) -> None:
        self._frame(kind, encode_message(kind, message)[5:])

    def _frame(self, kind: int, payload: bytes) -> None:
        if self._closed is None and self._on_frame is not None:
            self._on_frame(kind, payload)


async def _to_the_end(closing: Coroutine[None, None, None]) -> None:
    """Nobody else would remove what is left half closed: wait for it, then be cancelled."""
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
