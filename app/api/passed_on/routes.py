"""Requests that are passed on to the upstream as they are, and its answers back: no code runs for them.

What is ours holds for them too: keys and the models of a key, limits of bodies and answers, errors in OpenAI's shape.
Forms are read and written anew, so that the upstream reads the fields that were checked here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.aliases import without_suffix
from app.api.edge.auth import AuthenticatedCaller, Caller
from app.api.edge.errors import error_response, to_body
from app.api.edge.last_resort import failure_of
from app.api.edge.request_notes import notes_of
from app.api.event_stream import until_client_leaves
from app.api.options import forwarded_headers
from app.api.services import InjectedServices, Services, services_of
from app.api.wellformed import well_formed
from app.errors import RequestError
from app.json_size import TooManyValues, check_text
from app.upstream.relay import FormPart, Payload

log = logging.getLogger(__name__)

#: Paths by the name that a deployment allows them by (``EAGER_PASS_ON``).
PATHS: Final = {
    "audio": ("audio/speech", "audio/transcriptions", "audio/translations"),
    "completions": ("completions",),
    "embeddings": ("embeddings",),
    "images": ("images/edits", "images/generations", "images/variations"),
    "moderations": ("moderations",),
}
#: Of one form: images to edit, and their options.
MAX_FILES, MAX_FIELDS, MAX_FIELD_BYTES = 32, 64, 256 * 1024
#: On the paths where forms may be larger.
MAX_JSON_BYTES: Final = 32 * 1024 * 1024

router = APIRouter()


async def pass_on(request: Request, caller: AuthenticatedCaller, services: InjectedServices) -> Response:
    """
    Raises:
        RequestError: 404, the deployment does not pass this on; 403, the key may not use the model; 400, the body is
            not well formed.
    """
    path = request.url.path.removeprefix("/v1/")
    if path.partition("/")[0] not in services.gateway.pass_on:
        raise RequestError(f"Invalid URL ({request.method} {request.url.path})", code="unknown_url", status=404)
    services.gateway.require_upstream()
    return _PassedOnAnswer(path, services, caller, Request(request.scope, request.receive))


for _paths in PATHS.values():
    for _path in _paths:
        router.add_api_route(f"/v1/{_path}", pass_on, methods=["POST"], include_in_schema=False)


class _PassedOnAnswer(Response):
    """Reads the request, and relays the answer while it comes."""

    def __init__(self, path: str, services: Services, caller: Caller, request: Request) -> None:
        self._path = path
        self._services = services
        self._caller = caller
        self._request = request
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def run() -> None:
            nonlocal begun
            upstream = self._services.gateway.require_upstream()
            headers = forwarded_headers(self._services.gateway, self._request.headers)
            async with self._payload() as payload:

                async def relay() -> None:
                    nonlocal begun
                    async with upstream.relay(self._path, payload, headers) as answer:
                        async for piece in answer.pieces:
                            if not begun:
                                begun = True
                                await send(_head(answer.content_type))
                            await send({"type": "http.response.body", "body": piece, "more_body": True})
                        if not begun:
                            await send(_head(answer.content_type))
                        await send({"type": "http.response.body", "body": b"", "more_body": False})

                await until_client_leaves(receive, relay())

        failure = await failure_of(services_of(scope).open_requests.run(run()))
        if failure is None:
            return
        if not begun:
            await error_response(failure)(scope, receive, send)
            return
        # What has begun cannot become an error: the server cuts it off, since it was not ended.
        notes_of(scope).failed = True
        log.warning("an answer to %s broke off: %s", self._path, to_body(failure).message)

    @asynccontextmanager
    async def _payload(self) -> AsyncIterator[Payload]:
        kind = self._request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "multipart/form-data":
            yield await self._document()
            return
        limits = {"max_files": MAX_FILES, "max_fields": MAX_FIELDS, "max_part_size": MAX_FIELD_BYTES}
        async with self._request.form(**limits) as form:
            yield self._form(form)

    async def _document(self) -> dict[str, Any]:
        body = bytearray()
        async for piece in self._request.stream():
            body += piece
            if len(body) > MAX_JSON_BYTES:
                raise RequestError(f"The body is larger than {MAX_JSON_BYTES} bytes.", status=413)
        try:
            await check_text(bytes(body))
            document = well_formed(json.loads(body))
        except (ValueError, RecursionError) as error:
            reason = error if isinstance(error, TooManyValues) else "invalid JSON"
            raise RequestError(f"We could not parse the JSON body of your request: {reason}") from None
        if not isinstance(document, dict):
            raise RequestError("The body is a JSON object.")
        document.pop("eager", None)
        model = document.pop("model", None)
        if model is not None and not isinstance(model, str):
            raise RequestError("'model' is a text.", param="model")
        named = self._model(model)
        self._caller.require_models(document)
        return document if named is None else {"model": named, **document}

    def _form(self, form: FormData) -> list[FormPart]:
        fields = form.multi_items()
        named = {name: value for name, value in fields if isinstance(value, str)}
        self._model(named.get("model"))
        parts: list[FormPart] = []
        for name, value in fields:
            if isinstance(value, UploadFile):
                parts.append(FormPart(name, value.file, value.filename or "file", value.content_type))
            elif name == "model":
                parts.append(FormPart(name, self._model(value) or ""))
            else:
                self._caller.require_models({name: value})
                parts.append(FormPart(name, value))
        return parts

    def _model(self, model: str | None) -> str | None:
        """What the upstream calls it. A key with models has to say which: the upstream's own choice may be another."""
        if model is None:
            if self._caller.models is not None:
                raise RequestError(
                    "Missing required parameter: 'model'.", param="model", code="missing_required_parameter"
                )
            return None
        model, _ = without_suffix(model, self._services.gateway.model_suffix)
        self._caller.require_model(model)
        return model


def _head(content_type: str) -> dict[str, Any]:
    headers = [(b"content-type", content_type.encode("latin-1")), (b"x-content-type-options", b"nosniff")]
    if content_type.startswith("text/event-stream"):
        headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    return {"type": "http.response.start", "status": 200, "headers": headers}
