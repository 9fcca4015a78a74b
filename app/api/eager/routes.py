"""``POST /v1/eager/completions``: a chat-completions request whose code runs while it is generated."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.aliases import without_suffix
from app.api.eager.wire import EagerWire, completion_document
from app.api.edge.auth import AuthenticatedCaller
from app.api.edge.openapi import STREAMED
from app.api.event_stream import EventDocument, EventStream
from app.api.idempotency import idempotent
from app.api.options import pipeline_options, with_headers
from app.api.schemas import CompletionRequest
from app.api.services import InjectedServices
from app.api.tools import code_keys, for_upstream
from app.ids import new_id
from app.pipeline.emitter import SendEvent
from app.pipeline.run import run

router = APIRouter()


@router.post("/v1/eager/completions", responses=STREAMED)
async def create_eager_completion(
    request: Request, caller: AuthenticatedCaller, services: InjectedServices, body: CompletionRequest
) -> Response:
    """Streams typed events (``stream: true``), or answers with all of them in one object."""
    gateway = services.gateway
    upstream = gateway.require_upstream()
    body = body.model_copy(update={"model": without_suffix(body.model, gateway.model_suffix)[0]})
    caller.require_model(body.model)
    caller.require_models(body.model_extra or {})
    body.require_one_choice()
    asked = with_headers(body.eager, request.headers)
    # A repair is another turn, so who asks for repairs asks for turns.
    turns = gateway.turn_limit if asked.on_error == "repair" else 1
    options = pipeline_options(asked, gateway, request.headers, sources=("tool", "fence", "tag"), max_turns=turns)
    upstream_body, tools = for_upstream(body.upstream_body(), options.tools)

    async def pipeline(send: SendEvent) -> None:
        async with gateway.place(asked.session, owner=caller.name) as place:
            await run(
                upstream_body,
                replace(options, tools=tools, code_keys=code_keys(upstream_body, tools), whole=body.stream is False),
                request_id=new_id("eager"),
                upstream=upstream,
                place=place,
                send=send,
            )

    return idempotent(
        request,
        caller,
        await request.body(),
        EventStream(pipeline, EagerWire()) if body.stream else EventDocument(pipeline, completion_document),
        keys=services.store.idempotency_keys,
        instance=gateway.instance.id,
        streaming=bool(body.stream),
    )
