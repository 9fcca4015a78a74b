"""What the routes share: the collaborators that live as long as the process, and the deployment's defaults."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.errors import RequestError
from app.sandbox.pool import Pool
from app.sandbox.registry import SessionRegistry
from app.sandbox.session import Session
from app.scheduling.gate import Policy
from app.upstream.client import Upstream

#: ``eager.session``: keep the session made for this request, and tell its id in ``start``.
NEW_SESSION = "new"


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """``app.state.gateway``. ``upstream`` is None where none is configured."""

    upstream: Upstream | None
    pool: Pool
    isolation: str
    registry: SessionRegistry
    gate: Policy
    tools: frozenset[str]
    timeout_s: float
    turn_limit: int
    max_repairs: int
    #: Of OpenAI's endpoints: where code is looked for, and whether execution events are sent unasked.
    sources: frozenset[str]
    events: bool
    checkout_timeout_s: float
    pass_authorization: bool

    def require_upstream(self) -> Upstream:
        """
        Raises:
            RequestError: none is configured.
        """
        if self.upstream is None:
            raise RequestError("no upstream is configured (EAGER_UPSTREAM_BASE_URL)", code="no_upstream", status=503)
        return self.upstream

    @asynccontextmanager
    async def session(self, name: str | None, *, owner: str) -> AsyncIterator[Lease]:
        """The session a request runs in: a kept one, or one that is thrown away afterwards.

        Raises:
            RequestError: there is no such session.
            SandboxError: it is busy or gone, or no sandbox came free.
        """
        if name is None:
            async with self.pool.checkout(self.checkout_timeout_s) as worker:
                yield Lease(worker, worker.id)
            return
        if name == NEW_SESSION:
            name = (await self.registry.create(owner=owner, deadline_s=self.checkout_timeout_s)).id
        async with self.registry.use(name, owner=owner) as worker:
            yield Lease(worker, name)


@dataclass(frozen=True, slots=True)
class Lease:
    """A session for the length of a request, and the name that the client knows it by."""

    session: Session
    name: str


def new_id(prefix: str) -> str:
    """An unguessable id."""
    return f"{prefix}_{secrets.token_hex(12)}"
