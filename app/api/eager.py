"""``POST /v1/eager/completions``: a chat-completions request whose code runs while it is generated."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.auth import Caller
from app.api.event_stream import EventDocument, EventStream
from app.api.options import pipeline_options, with_headers
from app.api.schemas import CompletionRequest
from app.api.tools import for_upstream
from app.api.wire import EagerWire, completion_document
from app.gateway import Gateway, new_id
from app.pipeline.emitter import Send
from app.pipeline.run import run

router = APIRouter()


@router.post("/v1/eager/completions")
async def create_eager_completion(request: Request, body: CompletionRequest) -> Response:
    """Streams typed events (``stream: true``), or answers with all of them in one object."""
    gateway: Gateway = request.app.state.gateway
    upstream = gateway.require_upstream()
    caller: Caller = request.state.caller
    caller.require_model(body.model)
    body.require_one_choice()
    asked = with_headers(body.eager, request.headers)
    options = pipeline_options(asked, gateway, request.headers, sources=("tool", "fence", "tag"), max_turns=1)

    async def pipeline(send: Send) -> None:
        async with gateway.session(asked.session, owner=caller.name) as lease:
            await run(
                for_upstream(body.upstream_body()),
                options,
                request_id=new_id("eager"),
                upstream=upstream,
                session=lease.session,
                session_name=lease.name,
                send=send,
            )

    return EventStream(pipeline, EagerWire()) if body.stream else EventDocument(pipeline, completion_document)
