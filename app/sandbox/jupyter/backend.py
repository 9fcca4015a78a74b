"""Jupyter kernels as sandboxes: for those who already run kernels, and to compare with them.

A kernel is not a sandbox. Ours gives its sessions what a kernel can give: the same executions (``channel.py``),
interrupts, replacement of a kernel that died, files. What it lacks is isolation, limits, a supervisor out of reach of
the code, and back-pressure.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Sequence
from itertools import count
from typing import Protocol

from app.sandbox.jupyter.channel import KernelChannel
from app.sandbox.jupyter.kernel import Kernel, Listener
from app.sandbox.worker.worker import Worker


class Kernels(Protocol):
    """Where kernels come from: ``local_kernels.py`` or ``server_kernels.py``."""

    def describe(self) -> str: ...

    def make_folder(self) -> str | None:
        """The work folder of a session, removed with it; None where kernels make their own."""
        ...

    async def open(self, listener: Listener) -> Kernel:
        """
        Raises:
            SandboxStartError
        """
        ...

    async def close(self) -> None: ...


class JupyterBackend:
    """Implements ``Backend``."""

    name = "jupyter"

    def __init__(
        self,
        kernels: Kernels,
        *,
        output_limit_bytes: int = 32 << 20,
        start_timeout_s: float = 60.0,
        preload: Sequence[str] = (),
    ) -> None:
        self._kernels = kernels
        self._preload = preload
        self._output_limit_bytes = output_limit_bytes
        self._start_timeout_s = start_timeout_s
        self._numbers = count(1)

    def __repr__(self) -> str:
        return f"<JupyterBackend {self._kernels!r}>"

    def describe(self) -> str:
        return self._kernels.describe()

    async def start(self) -> Worker:
        folder = self._kernels.make_folder()
        channel = KernelChannel(
            self._kernels.open, folder=folder, start_timeout_s=self._start_timeout_s, preload=self._preload
        )
        life = asyncio.create_task(channel.run())

        async def kill() -> None:
            life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await life
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

        worker = Worker(
            channel,
            id=f"jupyter-{next(self._numbers)}",
            kill=kill,
            output_limit_bytes=self._output_limit_bytes,
            reset_s=self._start_timeout_s,
            ready_s=self._start_timeout_s,
        )
        try:
            await worker.wait_ready(self._start_timeout_s)
        except BaseException:
            await worker.close()
            raise
        return worker

    async def close(self) -> None:
        await self._kernels.close()
