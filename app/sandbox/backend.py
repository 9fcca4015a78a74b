"""What starts sandboxes: bubblewrap on this machine (``local/``), a Docker Engine (``docker/``), or whoever runs
Jupyter kernels (``jupyter/``)."""

from __future__ import annotations

from typing import Protocol

from app.sandbox.worker.worker import Worker


class Backend(Protocol):
    """Workers it has started stay valid until they are closed, whatever else fails."""

    @property
    def name(self) -> str:
        """As in the setting that chooses it."""
        ...

    async def start(self) -> Worker:
        """A worker that has said it is ready. Cancelled, it leaves nothing behind.

        Raises:
            SandboxStartError: with what the sandbox said on its way.
        """
        ...

    async def close(self) -> None:
        """After the last worker was closed."""
        ...

    def describe(self) -> str:
        """What isolates the code and what does not: one line for logs and readiness checks."""
        ...


async def probe(backend: Backend) -> None:
    """Really start one sandbox, and remove it.

    Raises:
        SandboxStartError: sandboxes do not work here.
    """
    worker = await backend.start()
    await worker.close()
