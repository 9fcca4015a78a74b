"""Responses over a WebSocket, which some agents try first (Codex CLI, with its own provider): told to use HTTP.

Any other refusal they take for a fault, and try again and again before they do.
"""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from app.api.edge.errors import error_response
from app.errors import RequestError

router = APIRouter()


@router.websocket("/v1/responses")
async def refuse_upgrade(socket: WebSocket) -> None:
    error = RequestError("Responses are streamed over HTTP here.", code="websocket_not_supported", status=426)
    await socket.send_denial_response(error_response(error))
