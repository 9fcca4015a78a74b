"""``POST /v1/responses``: code calls run in a container while they are written, the client sees OpenAI's events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from uuid import uuid4

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.aliases import without_suffix
from app.api.edge.auth import AuthenticatedCaller, Caller
from app.api.edge.openapi import STREAMED
from app.api.event_stream import EventDocument, EventStream
from app.api.files.lookup import file_names, find_files
from app.api.idempotency import idempotent
from app.api.options import drop_in_options, session_id, with_headers
from app.api.responses.answer import Answer
from app.api.responses.history import History, load_history
from app.api.responses.place import NoPlace, container_place
from app.api.responses.request import file_ids, require_supported, tools_of, upstream_body
from app.api.responses.schemas import ResponsesRequest
from app.api.responses.sealed_reasoning import ReasoningSeal
from app.api.responses.tools import ContainerChoice, Tools
from app.api.schemas import EagerOptions
from app.api.services import InjectedServices
from app.api.tools import code_keys, code_tool_names
from app.api.turn_texts import OnlyJson, is_parsed
from app.containers.host import ContainerHost
from app.containers.open_container import OpenContainer
from app.errors import RequestError
from app.events import Done, Error, Event
from app.pipeline.emitter import SendEvent
from app.pipeline.place import Place
from app.pipeline.run import RunOptions, run
from app.store.database import Store
from app.store.files import FileRecord
from app.upstream.completions import Completions

router = APIRouter()


@router.post("/v1/responses", responses=STREAMED)
async def create_response(
    request: Request, caller: AuthenticatedCaller, services: InjectedServices, body: ResponsesRequest
) -> Response:
    gateway, store = services.gateway, services.store
    seal = ReasoningSeal(services.deployment_key)
    upstream = gateway.require_upstream()
    body = body.model_copy(update={"model": without_suffix(body.model, gateway.model_suffix)[0]})
    caller.require_model(body.model)
    caller.require_models(body.model_extra or {})
    require_supported(body)
    tools = tools_of(body)
    asked = with_headers(body.eager, request.headers)
    _require_no_session(asked)
    options = drop_in_options(asked, gateway, request.headers)
    choice = tools.container
    if choice is None and not options.sources <= {"tool"}:
        choice = ContainerChoice()  # code in the text, which was asked for, needs no tool
    asked_tools = code_tool_names(asked.tools) if isinstance(asked.tools, list) and choice else frozenset()
    code_tools = asked_tools | ({tools.code_tool} if tools.code_tool else frozenset())
    options = replace(options, tools=code_tools, own_tools=tools.undeclared(code_tools), whole=not body.stream)
    answer = Answer(
        f"resp_{uuid4().hex}",
        body,
        owner=caller.name,
        store=store,
        seal=seal,
        carry_events=gateway.events if asked.events is None else asked.events,
        created_at=time.time(),
    )
    creation = _Creation(body, tools, choice, options, caller, answer, upstream, store, services.containers, seal)
    response = EventStream(creation.run, answer) if body.stream else EventDocument(creation.run, answer.document)
    return idempotent(
        request,
        caller,
        await request.body(),
        response,
        keys=store.idempotency_keys,
        instance=gateway.instance.id,
        streaming=bool(body.stream),
    )


@dataclass(frozen=True, slots=True)
class _Creation:
    """What a response runs. All that it names is looked up here: a request that is repeated by its idempotency key is
    answered also when that is gone.

    ``choice`` is None if no code can run; ``options`` are complete but for the tools' schemas.
    """

    request: ResponsesRequest
    tools: Tools
    choice: ContainerChoice | None
    options: RunOptions
    caller: Caller
    answer: Answer
    upstream: Completions
    store: Store
    containers: ContainerHost
    seal: ReasoningSeal

    async def run(self, send: SendEvent) -> None:
        """
        Raises:
            EagerError: as ``pipeline.run``; or what the request names is not there, or not well formed.
        """
        history = await load_history(self.request, self.store, owner=self.caller.name)
        records = await self._files(history)
        names = file_names(records)
        opened = partial(self.seal.opened, owner=self.caller.name)
        chat = upstream_body(self.request, self.tools, history.items, file_names=names, opened=opened)
        options = replace(self.options, code_keys=code_keys(chat, self.options.tools))
        self.answer.own_items = history.own
        last: list[Event] = []
        texts = OnlyJson() if is_parsed(chat.get("response_format")) else None

        async def relay(event: Event) -> None:
            for shown in texts.feed(event) if texts is not None else (event,):
                if isinstance(shown, Error | Done):
                    last.append(shown)
                else:
                    await self.answer.relay(shown, send)

        async with self._place(history, names, records) as place:
            await run(chat, options, request_id=self.answer.id, upstream=self.upstream, place=place, send=relay)
        for event in last:  # who goes on from here at once finds the container free
            await self.answer.relay(event, send)

    async def _files(self, history: History) -> list[FileRecord]:
        """Those of the tool before those of messages: what is attached later takes no name from them. Those of turns
        before may be gone: apps tidy up what they have asked about, and go on."""
        own = file_ids(history.own)
        if self.choice is None:
            if own:
                raise RequestError("Files can only be read by code: add the tool code_interpreter.", param="tools")
            return []
        wanted, attached = self.choice.file_ids, file_ids(history.items)
        earlier = {*attached}.difference(own, wanted)
        ids = [*wanted, *attached]
        return await find_files(self.store, self.caller, ids, param="tools.file_ids", optional=earlier)

    @asynccontextmanager
    async def _place(
        self, history: History, names: Mapping[str, str], records: Sequence[FileRecord]
    ) -> AsyncIterator[Place]:
        if self.choice is None:
            yield NoPlace()
            return

        async def fill(container: OpenContainer) -> None:
            await container.add_files(names, records)

        async with container_place(
            self.choice,
            self.containers,
            owner=self.caller.name,
            used_before=history.container_id,
            keep_as=session_id(self.request.metadata),
            fill=fill,
        ) as self.answer.place:
            yield self.answer.place


def _require_no_session(asked: EagerOptions) -> None:
    """
    Raises:
        RequestError: a session was named.
    """
    if asked.session is not None:
        raise RequestError(
            "Code of a response runs in its container: name that in the tool.",
            param="eager.session",
            code="unsupported_parameter",
        )
