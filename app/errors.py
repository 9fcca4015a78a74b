"""Everything that can go wrong on our side, and what is still standing afterwards.

    EagerError
    ├── RequestError            the client asked for something we cannot do (4xx)
    │   └── TooManyRequests     or asks too often, or for too much at once
    ├── UpstreamError           the LLM server failed
    │   ├── UpstreamUnreachable no connection, or no first byte in time
    │   ├── UpstreamRefused     it answered with an HTTP error
    │   └── UpstreamBroken      the stream failed, stalled or ended in the middle
    ├── StorageError            what is kept could not be read or written
    │   ├── StorageFull         for want of space
    │   └── OverQuota           its owner keeps too much already
    ├── ShuttingDown            the gateway was told to stop
    ├── ClientLeft              there is nobody to be answered
    └── SandboxError
        ├── SandboxUnavailable  none could be had in time
        ├── SandboxStartError   one could not be started
        │   ├── SandboxSilent       it was too slow
        │   └── SandboxForbidden    nor can any other: the machine does not allow it
        ├── SandboxGone         it died, was killed or broke the protocol
        ├── SessionBusy         it is running something else
        └── SessionElsewhere    another gateway holds it

Code of the model that raises is none of these: it is an event.
"""

from __future__ import annotations

import math
from typing import Final

from app.redaction import on_one_line, without_addresses

#: OpenAI's SDKs ignore a wait longer than this and fall back to their own, shorter one (PROTOCOL.md 5).
LONGEST_WAIT_S: Final = 60


class EagerError(Exception):
    """Base class. ``status``, ``type`` and ``code`` are what the client is told (PROTOCOL.md, section 5); ``headers``
    go with an HTTP answer."""

    status = 500
    type = "server_error"
    code: str | None = "internal_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers: dict[str, str] = {}
        if code is not None:
            self.code = code

    @property
    def told(self) -> str:
        """``message`` as clients are told it; the operator finds all of it in the log."""
        return self.message


class RequestError(EagerError):
    """Nothing was started."""

    status = 400
    type = "invalid_request_error"
    code: str | None = "invalid_value"

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message, param=param, code=code)
        if status is not None:
            self.status = status


class TooManyRequests(RequestError):
    """Nothing was started; it may be tried again after ``retry_after_s``."""

    status = 429
    type = "requests"
    code: str | None = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.headers = {"retry-after": str(min(max(math.ceil(retry_after_s), 1), LONGEST_WAIT_S))}


class UpstreamError(EagerError):
    """The session stays as the code that ran left it."""

    status = 502
    type = "upstream_error"
    code: str | None = "bad_gateway"

    @property
    def told(self) -> str:
        message = without_addresses(self.message, public_urls=True)
        return "\n".join(map(on_one_line, message.split("\n")))


class UpstreamUnreachable(UpstreamError):
    """No connection could be made, or no first byte came in time: the upstream has generated nothing we know of."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        if timed_out:
            self.status, self.type, self.code = 504, "upstream_timeout", "gateway_timeout"


class UpstreamRefused(UpstreamError):
    """It answered with an HTTP error before any token. ``status`` and ``body`` are what the client is to be told."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        type: str,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, param=param)
        self.status, self.type = status, type
        self.code = code
        self.headers = headers or {}


class UpstreamBroken(UpstreamError):
    """The stream failed, stalled, or ended without a finish reason. What had been received was handed on. ``status``,
    ``type`` and ``code`` are given where the upstream has said what the client can do about it."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, param=param, code=code)
        if status is not None:
            self.status = status
        if type is not None:
            self.type = type


class StorageError(EagerError):
    """The database, or the disk, failed: what was to be kept is not, or is not found just now. Nothing half-written
    stays."""

    status = 503
    code: str | None = "storage_unavailable"


class StorageFull(StorageError):
    """There is no space left. It does not come back by itself, so SDKs need not try again."""

    status = 507
    code: str | None = "insufficient_storage"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers = {"x-should-retry": "false"}


class OverQuota(StorageError):
    """The owner may not keep so much. Trying again does not help."""

    status = 429
    type = "insufficient_quota"
    code: str | None = "insufficient_quota"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers = {"x-should-retry": "false"}


class ShuttingDown(EagerError):
    """The request was cut short, as if its client had left."""

    status = 503
    code: str | None = "overloaded"


class ClientLeft(EagerError):
    """The client closed its connection. The answer is for logs, and for middleware."""

    status = 499
    type = "invalid_request_error"
    code: str | None = "client_left"


class SandboxError(EagerError):
    """Base class of sandbox failures."""

    status = 503
    code: str | None = "overloaded"

    @property
    def told(self) -> str:
        return without_addresses(self.message, public_urls=False)


class SandboxUnavailable(SandboxError):
    """None came free before the deadline; nothing was run."""

    status = 429
    type = "requests"
    code: str | None = "rate_limit_exceeded"


class SandboxStartError(SandboxError):
    """The sandbox could not be started; what was begun of it has been removed."""


class SandboxSilent(SandboxStartError):
    """It said nothing for too long. The machine may be too busy."""


class SandboxForbidden(SandboxStartError):
    """The machine, or the container we are in, does not allow sandboxes. The message says what can be done."""


class SandboxGone(SandboxError):
    """The sandbox died, was killed or broke the protocol. It and its session are gone."""

    status = 500
    code: str | None = "sandbox_gone"


class SessionBusy(SandboxError):
    """The session is running something else, and stays as it is."""

    status = 409
    type = "conflict_error"
    code: str | None = "session_busy"


class SessionElsewhere(SandboxError):
    """Another gateway of the deployment holds the session, which stays as it is. SDKs try again at this status, and may
    then be led there."""

    status = 409
    type = "conflict_error"
    code: str | None = "session_elsewhere"
