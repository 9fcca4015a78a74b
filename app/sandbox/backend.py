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


class Forking(Protocol):
    """A backend whose workers are forks of a process that is there already. Forks of one process have something in
    common, so each such process is one owner's."""

    @property
    def is_quick(self) -> bool:
        """Whether a start takes some 30 ms now."""
        ...

    async def start(self, owner: str | None = None) -> Worker:
        """As a backend's. ``owner``: for whom; None: for the first whom it may serve."""
        ...

    def may_serve(self, worker: Worker, owner: str) -> bool:
        """Whether a worker that has run nothing may be given to this owner. If so, it is that owner's from now on."""
        ...


async def probe(backend: Backend) -> None:
    """Really start one sandbox, and remove it.

    Raises:
        SandboxStartError: sandboxes do not work here.
    """
    worker = await backend.start()
    await worker.close()
