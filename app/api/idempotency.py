"""``Idempotency-Key``: a repeated request is answered from memory, and its code does not run twice.

=====================  ==================================================================
the same key with      is answered
=====================  ==================================================================
another request        400: the key belongs to the first one
it, still running      409 ``idempotency_conflict`` (SDKs come back by themselves)
it, answered           the first answer, with ``idempotent-replayed: true``
it, a stream or lost   409 ``idempotency_conflict`` with ``x-should-retry: false``: what it did cannot be told again.
                       So is what ran when its gateway was killed
it, come to nothing    as if it were new: an error before any code ran is no answer worth keeping, be it a status or
                       the end of an answer that had begun, nor is one that its client left before any code ran
=====================  ==================================================================
"""

from __future__ import annotations

import hashlib
import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.api.edge.auth import Caller
from app.api.edge.errors import error_response
from app.api.edge.request_notes import RequestNotes, notes_of
from app.api.options import PREFIX
from app.errors import RequestError
from app.store.idempotency import IdempotencyKeys, KeyRecord

KEY = re.compile(r"[ -~]{1,255}")
TTL_S = 24 * 3600
#: A larger answer is not kept; the key is spent then.
MAX_BODY = 8 * 1024 * 1024


def idempotent(
    request: Request,
    caller: Caller,
    body: bytes,
    response: Response,
    *,
    keys: IdempotencyKeys,
    instance: str,
    streaming: bool,
) -> Response:
    """``response``, to be run at most once for the request's key; itself if the request has none.

    ``instance`` is the gateway, whose death ends what runs in it.

    The response is what runs the request (``EventStream``, ``EventDocument``), not what was already run.

    Raises:
        RequestError: the key is not usable.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return response
    if not KEY.fullmatch(key):
        raise RequestError("An Idempotency-Key is 1 to 255 printable ASCII characters.", param="Idempotency-Key")
    options = sorted((name, value) for name, value in request.headers.items() if name.startswith(PREFIX))
    fingerprint = hashlib.sha256(f"{request.method} {request.url.path} {options}\n".encode() + body).hexdigest()
    return _Once(response, keys, key, caller.name, instance, fingerprint, streaming)


class _Once(Response):
    """Runs a response if its key is free, and keeps what it answers."""

    def __init__(
        self,
        response: Response,
        keys: IdempotencyKeys,
        key: str,
        owner: str,
        instance: str,
        fingerprint: str,
        streaming: bool,
    ) -> None:
        self._response = response
        self._keys = keys
        self._key = key
        self._owner = owner
        self._instance = instance
        self._fingerprint = fingerprint
        self._streaming = streaming
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = await self._keys.claim(
            self._key, owner=self._owner, instance=self._instance, fingerprint=self._fingerprint, ttl_s=TTL_S
        )
        if known is not None:
            await self._repeat(known)(scope, receive, send)
            return
        recorder = _Recorder(send, keep_body=not self._streaming)
        try:
            await self._response(scope, receive, recorder.send)
        finally:
            await self._settle(recorder, notes_of(scope))
        await recorder.send_last()

    def _repeat(self, known: KeyRecord) -> Response:
        if known.fingerprint != self._fingerprint:
            return error_response(
                RequestError("This Idempotency-Key was used for another request.", param="Idempotency-Key")
            )
        if known.state == "answered":
            status = known.status or 200
            headers = {"idempotent-replayed": "true"}
            if status >= 400:  # another try would be told the same
                headers["x-should-retry"] = "false"
            return Response(known.body, status, headers, media_type="application/json")
        running = known.state == "running"
        error = RequestError(
            "The first request with this Idempotency-Key is still running."
            if running
            else "A request with this Idempotency-Key has run before; its answer was not kept, and is not made again.",
            code="idempotency_conflict",
            status=409,
        )
        error.type = "conflict_error"
        if self._streaming or not running:
            error.headers = {"x-should-retry": "false"}
        return error_response(error)

    async def _settle(self, recorder: _Recorder, notes: RequestNotes) -> None:
        succeeded = recorder.status is not None and recorder.status < 400 and not notes.failed
        came_to_an_answer = recorder.complete and succeeded
        if not came_to_an_answer and not notes.code_ran:
            await self._keys.release(self._key, owner=self._owner)
        elif recorder.status is not None and recorder.body is not None:
            await self._keys.answer(self._key, owner=self._owner, status=recorder.status, body=bytes(recorder.body))
        else:
            await self._keys.spend(self._key, owner=self._owner)


class _Recorder:
    """Passes an answer on and remembers it. ``body`` is None unless it was complete and small enough.

    The last piece waits for ``send_last``: who has all of an answer may come back at once, and must find it settled.
    """

    def __init__(self, send: Send, *, keep_body: bool) -> None:
        self.status: int | None = None
        self.body: bytearray | None = None
        self._send = send
        self._gathering = bytearray() if keep_body else None
        self._last: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif self._gathering is not None:
            self._gathering += message.get("body", b"")
            if len(self._gathering) > MAX_BODY:
                self._gathering = None
            elif not message.get("more_body", False):
                self.body = self._gathering
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._last = message
        else:
            await self._send(message)

    @property
    def complete(self) -> bool:
        """Whether the answer came to its end."""
        return self._last is not None

    async def send_last(self) -> None:
        if self._last is not None:
            await self._send(self._last)
