"""What OpenAI's Responses have and these do not, refused in a way that clients go on from.

A WebSocket is what some agents try first (Codex CLI, with its own provider). Told to use HTTP they do; any other
refusal they take for a fault, and try again and again before. Counting tokens and compacting have paths that look like
those of stored responses: a 405 would say that they are there.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, WebSocket

from app.api.edge.errors import error_response
from app.errors import RequestError

router = APIRouter(prefix="/v1/responses")


@router.websocket("")
async def refuse_upgrade(socket: WebSocket) -> None:
    error = RequestError("Responses are streamed over HTTP here.", code="websocket_not_supported", status=426)
    await socket.send_denial_response(error_response(error))


@router.post("/input_tokens", include_in_schema=False)
@router.post("/compact", include_in_schema=False)
async def refuse_path(request: Request) -> None:
    """
    Raises:
        RequestError: 404.
    """
    raise RequestError(f"Invalid URL ({request.method} {request.url.path})", code="unknown_url", status=404)
