"""``POST /v1/responses``: code calls run in a container while they are written, the client sees OpenAI's events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from uuid import uuid4

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.edge.auth import AuthenticatedCaller
from app.api.edge.long_bodies import LongBodyRoute
from app.api.edge.openapi import STREAMED
from app.api.event_stream import EventDocument, EventStream
from app.api.files.lookup import file_names, find_files
from app.api.model_requests import ModelRequest
from app.api.options import session_id
from app.api.responses.answer import Answer
from app.api.responses.history import History, load_history
from app.api.responses.place import NoPlace, container_place
from app.api.responses.request import file_ids, is_json, require_supported, tools_of, upstream_body
from app.api.responses.schemas import ResponsesRequest
from app.api.responses.sealed_reasoning import ReasoningSeal
from app.api.responses.tools import ContainerChoice, Tools
from app.api.schemas import EagerOptions
from app.api.services import InjectedServices
from app.api.tools import code_tool_names
from app.api.turn_texts import OnlyJson, is_parsed
from app.containers.open_container import OpenContainer
from app.errors import RequestError
from app.events import Done, Error, Event
from app.pipeline.emitter import SendEvent
from app.pipeline.place import Place
from app.pipeline.run import RunOptions
from app.store.files import FileRecord
from app.upstream.completions import Completions

router = APIRouter(route_class=LongBodyRoute)


@router.post("/v1/responses", responses=STREAMED)
async def create_response(
    request: Request, caller: AuthenticatedCaller, services: InjectedServices, body: ResponsesRequest
) -> Response:
    gateway, store = services.gateway, services.store
    seal = ReasoningSeal(services.deployment_key)
    upstream = gateway.require_upstream()
    asked = ModelRequest.of(request, services, caller, model=body.model, options=body.eager, others=body.model_extra)
    body = body.model_copy(update={"model": asked.model})
    require_supported(body)
    offered = asked.offers_interpreter and not is_json(body)
    tools = tools_of(body, interpreter=offered, refuse=gateway.hosted_tools == "refuse", hint=asked.hints)
    _require_no_session(asked.options)
    options = asked.drop_in_options(whole=not body.stream)
    choice = tools.container
    if choice is None and not options.sources <= {"tool"}:
        choice = ContainerChoice()  # code in the text, which was asked for, needs no tool
    named = asked.options.tools
    asked_tools = code_tool_names(named) if isinstance(named, list) and choice else frozenset()
    code_tools = asked_tools | ({tools.code_tool} if tools.code_tool else frozenset())
    options = replace(options, max_calls=body.max_tool_calls, tools=code_tools, own_tools=tools.undeclared(code_tools))
    answer = Answer(
        f"resp_{uuid4().hex}",
        body,
        owner=caller.name,
        store=store,
        tools=tools,
        seal=seal,
        carry_events=asked.carries_events,
        created_at=time.time(),
    )
    creation = _Creation(body, tools, choice, options, asked, answer, upstream, seal)
    response = (
        EventStream(creation.run, answer) if body.stream else EventDocument(creation.run, answer.document, joined=True)
    )
    return await asked.answer(request, response, streaming=bool(body.stream))


@dataclass(frozen=True, slots=True)
class _Creation:
    """What a response runs. All that it names is looked up here: a request that is repeated by its idempotency key is
    answered also when that is gone.

    ``choice`` is None if no code can run.
    """

    request: ResponsesRequest
    tools: Tools
    choice: ContainerChoice | None
    options: RunOptions
    asked: ModelRequest
    answer: Answer
    upstream: Completions
    seal: ReasoningSeal

    async def run(self, send: SendEvent) -> None:
        """
        Raises:
            EagerError: as ``pipeline.run``; or what the request names is not there, or not well formed.
        """
        history = await load_history(self.request, self.asked.services.store, owner=self.asked.caller.name)
        await asyncio.sleep(0)  # the conversation may be long: here, and below, others come in between
        records = await self._files(history)
        names = file_names(records)
        opened = partial(self.seal.opened, owner=self.asked.caller.name)
        await asyncio.sleep(0)
        chat = upstream_body(self.request, self.tools, history.items, file_names=names, opened=opened)
        await asyncio.sleep(0)
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
            await self.asked.run(chat, self.options, id=self.answer.id, upstream=self.upstream, place=place, send=relay)
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
        return await find_files(
            self.asked.services.store, self.asked.caller, ids, param="tools.file_ids", optional=earlier
        )

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
            self.asked.services.containers,
            owner=self.asked.caller.name,
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
