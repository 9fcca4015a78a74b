"""What the routes share: the collaborators that live as long as the process, and the deployment's defaults."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from app.errors import RequestError, SessionElsewhere
from app.ids import new_id
from app.instance import Instance
from app.pipeline.place import AtHand, Late, LatePlace, NewPlace, Place
from app.sandbox.docker.engines import Engines
from app.sandbox.egress.proxy import Egress
from app.sandbox.pool import Pool
from app.sandbox.registry import SessionRegistry
from app.sandbox.session import Session
from app.scheduling.gate import Policy
from app.upstream.client import Upstream

Render = Literal["none", "markdown", "interleaved"]
CodeTool = Literal["declared", "always"]
HostedTools = Literal["omit", "refuse"]
Hint = Literal["auto", "off"]

#: ``eager.session``: keep the session made for this request, and tell its id in ``start``.
NEW_SESSION = "new"


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """``upstream`` is None where none is configured."""

    upstream: Upstream | None
    pool: Pool
    isolation: str
    registry: SessionRegistry
    instance: Instance
    gate: Policy
    tools: frozenset[str]
    timeout_s: float
    turn_limit: int
    max_repairs: int
    #: Of OpenAI's endpoints: where code is looked for, and whether execution events are sent unasked.
    sources: frozenset[str]
    events: bool
    #: How answers are shown as text, whether the interpreter is declared where the client does not, whether the model
    #: is told how to write code for it, and what the aliases of models end with.
    render: Render
    code_tool: CodeTool
    #: Endpoints of OpenAI's that the upstream answers.
    pass_on: frozenset[str]
    #: What becomes of tools of a request that are services which are not here.
    hosted_tools: HostedTools
    hint: Hint
    model_suffix: str
    #: Where clients reach the gateway, None if each request tells; how long links last.
    public_url: str | None
    shared_s: float
    checkout_timeout_s: float
    pass_authorization: bool
    #: None where sandboxes are not on Docker Engines, or have no way out.
    engines: Engines | None = None
    egress: Egress | None = None

    def require_upstream(self) -> Upstream:
        """
        Raises:
            RequestError: none is configured.
        """
        if self.upstream is None:
            raise RequestError("no upstream is configured (EAGER_UPSTREAM_BASE_URL)", code="no_upstream", status=503)
        return self.upstream

    @asynccontextmanager
    async def place(self, session: str | None, *, owner: str, keep_as: str | None = None) -> AsyncIterator[Place]:
        """Where the code of a request runs: in a kept session, in a new one that is made when the upstream has accepted
        the request, or in a sandbox that is had when code comes and thrown away afterwards.

        Args:
            session: id of a session, or ``"new"``.
            keep_as: the client's own name for a session, which is made when code comes if there is none. It counts
                where ``session`` is None.

        Raises:
            RequestError: there is no such session.
            SandboxError: it is busy or gone, or another gateway holds it.
        """
        kept = kept_id(owner, keep_as) if session is None and keep_as is not None else None
        if session == NEW_SESSION:
            new = new_id("ses")
            async with Late(lambda: self._keep(new, owner, spare=False)) as late:
                yield NewPlace(late, new, self.pool.python_version)
            return
        if kept is not None:
            if self.registry.is_alive(kept, owner=owner):
                session = kept
            else:  # told now, while the request can still be an HTTP error
                await self.instance.require_nowhere(kept, owner=owner)
        if session is not None:
            async with self.registry.use(session, owner=owner) as worker:
                yield AtHand(worker, session)
            return
        wait_s = self.checkout_timeout_s

        def sandbox() -> AbstractAsyncContextManager[Session]:
            return self._keep(kept, owner, spare=True) if kept else self.pool.checkout(wait_s, owner=owner)

        async with Late(sandbox) as late:
            yield LatePlace(late, kept or "", self.pool.python_version)

    async def may_use(self, name: str, *, owner: str, wait_s: float) -> bool:
        """Whether ``place`` has no other request in the session that ``owner`` calls ``name``, and no other gateway
        holds it. It is waited for, for a while: code that was stopped may be ending in it."""
        id = kept_id(owner, name)
        if not await self.registry.until_free(id, limit_s=wait_s):
            return False
        if not self.registry.is_alive(id, owner=owner):
            try:
                await self.instance.require_nowhere(id, owner=owner)
            except SessionElsewhere:
                return False
        return True

    @asynccontextmanager
    async def _keep(self, id: str, owner: str, *, spare: bool) -> AsyncIterator[Session]:
        if not self.registry.is_alive(id, owner=owner):  # another request may have made it meanwhile
            await self.registry.create(owner=owner, deadline_s=self.checkout_timeout_s, id=id, spare=spare)
        async with self.registry.use(id, owner=owner) as worker:
            yield worker


def kept_id(owner: str, name: str) -> str:
    """The id of the session that ``owner`` calls ``name``: no other caller's, whatever names they choose."""
    digest = hashlib.sha256(f"{len(owner)} {owner} {name}".encode("utf-8", "surrogatepass"))
    return f"ses_{digest.hexdigest()[:24]}"
