"""The road of every request to a model: who asks for which model with which options, how it is run, and how answered.

The endpoints differ in their bodies, tools and wires, and responses run in containers. That stays in their folders.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from app.api.aliases import without_suffix
from app.api.edge.auth import Caller
from app.api.idempotency import idempotent
from app.api.options import forwarded_headers, with_headers
from app.api.schemas import EagerOptions
from app.api.services import Services
from app.api.shared.links import Links
from app.api.tools import code_keys, code_tool_names
from app.pipeline.emitter import SendEvent
from app.pipeline.place import Place
from app.pipeline.run import KeepHidden, KeepTurn, OnFailure, RunOptions, run
from app.pipeline.transaction import RollbackPolicy
from app.upstream.completions import Completions

#: Where code may stand in an answer.
ALL_SOURCES: Final = frozenset({"tool", "fence", "tag"})


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """
    Attributes:
        model: what the upstream calls the model.
        by_alias: the model was asked for by its alias (``EAGER_MODEL_SUFFIX``).
        options: those of the body and of the headers together.
    """

    connection: HTTPConnection
    services: Services
    caller: Caller
    model: str
    by_alias: bool
    options: EagerOptions

    @classmethod
    def of(
        cls,
        connection: HTTPConnection,
        services: Services,
        caller: Caller,
        *,
        model: str,
        options: EagerOptions,
        others: Mapping[str, Any] | None = None,
    ) -> Self:
        """
        Args:
            model: as the client calls it; empty where an app calls its model itself and does not say which.
            options: the ``eager`` object.
            others: further fields of the body, some of which may name models.

        Raises:
            RequestError: 403, the caller may not use one of the models; 400, a header is not well formed.
        """
        model, by_alias = without_suffix(model, services.gateway.model_suffix)
        if model:
            caller.require_model(model)
        caller.require_models(others or {})
        options = with_headers(options, connection.headers)
        return cls(
            connection=connection, services=services, caller=caller, model=model, by_alias=by_alias, options=options
        )

    @property
    def offers_interpreter(self) -> bool:
        """Whether the model has the interpreter also where the client does not declare it."""
        if self.options.tools == "off":
            return False
        by_default = "always" if self.by_alias else self.caller.code_tool or self.services.gateway.code_tool
        return (self.options.code_tool or by_default) == "always"

    @property
    def carries_events(self) -> bool:
        """Whether a stream in OpenAI's shape also has the events of execution."""
        return self.services.gateway.events if self.options.events is None else self.options.events

    def run_options(
        self,
        *,
        max_turns: int,
        whole: bool,
        sources: Collection[str] = ALL_SOURCES,
        on_error: OnFailure = "interrupt",
        rollback: RollbackPolicy = "off",
    ) -> RunOptions:
        """What was asked for; else the endpoint's defaults (the arguments, ``whole`` apart) and the deployment's.
        Limits are applied."""
        asked, gateway = self.options, self.services.gateway
        if asked.tools == "off":
            tools: frozenset[str] = frozenset()
        else:
            tools = gateway.tools if asked.tools is None else code_tool_names(asked.tools)
        return RunOptions(
            mode=asked.mode,
            on_error=asked.on_error or on_error,
            repair_from=asked.repair_from,
            max_repairs=gateway.max_repairs if asked.max_repairs is None else asked.max_repairs,
            rollback=asked.rollback or rollback,
            sources=frozenset(sources if asked.sources is None else asked.sources),
            tools=tools,
            gate=asked.gate or gateway.gate,
            max_turns=min(asked.max_turns or max_turns, gateway.turn_limit),
            timeout_s=min(asked.timeout_s or gateway.timeout_s, gateway.timeout_s),
            headers=forwarded_headers(gateway, self.connection.headers),
            whole=whole,
        )

    def drop_in_options(self, *, whole: bool, sources: Collection[str] | None = None) -> RunOptions:
        """The same for OpenAI's endpoints: code runs to an answer, and what fails is repaired on the way. ``sources``
        are the default in the place of the deployment's."""
        return self.run_options(
            max_turns=self.services.gateway.turn_limit,
            whole=whole,
            sources=self.services.gateway.sources if sources is None else sources,
            on_error="repair",
            rollback="on_syntax_error",
        )

    def place(self, *, keep_as: str | None = None) -> AbstractAsyncContextManager[Place]:
        """Where the code runs, as ``Gateway.place``."""
        return self.services.gateway.place(self.options.session, owner=self.caller.name, keep_as=keep_as)

    def links(self, place: Place) -> Links:
        """To what the code in ``place`` draws and writes."""
        services = self.services
        return Links(
            services.store,
            services.blobs,
            owner=self.caller.name,
            base_url=services.gateway.public_url or str(self.connection.base_url).rstrip("/"),
            place=place,
            ttl_s=services.gateway.shared_s,
        )

    async def run(
        self,
        body: dict[str, Any],
        options: RunOptions,
        *,
        id: str,
        upstream: Completions,
        place: Place,
        send: SendEvent,
        keep_hidden: KeepHidden | None = None,
        keep_turn: KeepTurn | None = None,
    ) -> None:
        """``pipeline.run``, with what the schemas of the tools in ``body`` tell of those in ``options``.

        Raises:
            UpstreamError: before any event but ``start``; later failures are events.
        """
        await run(
            body,
            replace(options, code_keys=code_keys(body, options.tools)),
            request_id=id,
            upstream=upstream,
            place=place,
            send=send,
            keep_hidden=keep_hidden,
            keep_turn=keep_turn,
        )

    async def answer(self, request: Request, response: Response, *, streaming: bool) -> Response:
        """``response``, which runs ``request`` at most once for its ``Idempotency-Key``.

        Raises:
            RequestError: the key is not usable.
        """
        services = self.services
        return idempotent(
            request,
            self.caller,
            await request.body(),
            response,
            keys=services.store.idempotency_keys,
            instance=services.gateway.instance.id,
            streaming=streaming,
        )
