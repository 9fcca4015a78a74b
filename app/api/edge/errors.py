"""Every error of every path in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}`` (PROTOCOL.md 5).

SDKs choose their exception class by the status alone and decide by it whether to retry; message, param and code they
read from the body. FastAPI's own ``{"detail": ...}`` would leave them all empty, so its handlers are replaced.
"""

from __future__ import annotations

import json
import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.edge.openapi import document_errors
from app.api.edge.request_notes import notes_of
from app.api.edge.validation import body_error
from app.errors import ClientLeft, EagerError, RequestError
from app.events import Error, ErrorBody

log = logging.getLogger(__name__)

#: Statuses at which a client may come back soon. SDKs would wait half a second by themselves.
COME_BACK = {429, 503}
COME_BACK_S = 1

#: All else is logged, with its traceback.
FORESEEN = (EagerError, RequestValidationError, HTTPException, ClientDisconnect)

#: What the framework, or a middleware, may answer by an ``HTTPException``: status -> type, code.
FRAMEWORK = {
    404: ("invalid_request_error", "unknown_url"),
    405: ("invalid_request_error", "method_not_allowed"),
    408: ("timeout", "request_timeout"),
    413: ("invalid_request_error", "request_too_large"),
}


def install(app: FastAPI) -> None:
    """Make ``app`` answer all its errors in OpenAI's shape, and say so in its OpenAPI document."""
    for kind in (*FORESEEN, Exception):
        app.add_exception_handler(kind, _answer)
    document_errors(app)


def translate(error: Exception) -> EagerError:
    """Any exception as one of ours. What we did not foresee says nothing about itself to the client."""
    match error:
        case EagerError():
            return error
        case ClientDisconnect():
            return ClientLeft("The client left while it sent its request.")
        case RequestValidationError():
            return body_error(error)
        case HTTPException():
            return _framework_error(error)
        case _:
            return EagerError("The server had an error while processing your request.")


def to_body(error: Exception) -> ErrorBody:
    """The ``error`` object that tells a client about ``error``."""
    ours = translate(error)
    return ErrorBody(message=ours.told, type=ours.type, param=ours.param, code=ours.code)


def to_exception(event: Error) -> EagerError:
    """The event as an exception: nothing has been sent yet, so the client gets an HTTP error."""
    error = event.error
    failure = EagerError(error.message, param=error.param)
    failure.status, failure.type, failure.code = event.status, error.type, error.code
    failure.headers = dict(event.headers or {})
    return failure


class ErrorResponse(Response):
    """An error as HTTP.

    Once a statement has run a retry would run it again, so such a request (``RequestNotes.code_ran``) is answered
    with ``x-should-retry: false``, which OpenAI's SDKs obey.
    """

    def __init__(self, error: EagerError) -> None:
        body = {"message": error.told, "type": error.type, "param": error.param, "code": error.code}
        # ASCII only: a message may quote a lone surrogate of the client's, which has no UTF-8.
        content = json.dumps({"error": body}).encode()
        headers = {name.lower(): value for name, value in error.headers.items()}
        if error.status in COME_BACK and not headers.keys() & {"retry-after", "retry-after-ms"}:
            headers["retry-after"] = str(COME_BACK_S)
        super().__init__(content, error.status, headers, media_type="application/json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if notes_of(scope).code_ran:
            self.headers["x-should-retry"] = "false"
        await super().__call__(scope, receive, send)


def error_response(error: Exception) -> Response:
    """The HTTP answer for ``error``."""
    return ErrorResponse(translate(error))


async def _answer(request: HTTPConnection, error: Exception) -> Response:
    ours = translate(error)
    if not isinstance(error, FORESEEN):
        request_id = request.scope.get("state", {}).get("request_id")
        log.error("request %s failed", request_id, exc_info=error)
        if request_id:  # the answer to the unforeseen is sent from outside of the middleware that adds it
            ours.headers["x-request-id"] = request_id
    elif ours.told != ours.message:
        log.warning("the request failed, and its client is not told all of: %s", ours.message)
    elif ours.code == "unknown_url":
        ours.message = f"Invalid URL ({request.scope.get('method', 'WEBSOCKET')} {request.url.path})"
    return ErrorResponse(ours)


def _framework_error(error: HTTPException) -> RequestError:
    type, code = FRAMEWORK.get(error.status_code, ("invalid_request_error", "invalid_value"))
    ours = RequestError(str(error.detail), code=code, status=error.status_code)
    ours.type = type
    ours.headers = dict(error.headers or {})
    return ours
