"""Web pages of other origins: which may call, and how a browser learns it (Fetch Standard, "CORS protocol").

A gateway without keys trusts whoever reaches it, and a browser lets any page send a POST to this machine's loopback. So
it refuses pages that are not its own and not listed; those that have to present a key are let through, as OpenAI does.

A page can also have its own name lead to this machine (DNS rebinding). What it asks for then is of its own origin, so a
browser sends no ``Origin`` with a GET; but the ``Host`` is that name. A gateway without keys answers to names of
loopback alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.edge.errors import error_response
from app.errors import RequestError

#: What a page may read of an answer, beside what the standard lets it.
EXPOSED_HEADERS: Final = ("x-request-id", "retry-after", "x-should-retry", "content-disposition")


class Origins:
    """``listed`` are origins as a browser sends them (``https://app.example``), or ``*``."""

    def __init__(self, listed: Collection[str], *, open: bool) -> None:
        """``open``: nobody has to present a key."""
        self.listed = listed
        self.open = open

    def require_allowed(self, headers: Mapping[str, str]) -> None:
        """
        Raises:
            RequestError: 403, a page that is neither listed nor the gateway's own, or a foreign name.
        """
        if self.open and not is_loopback(_name(headers.get("host", "localhost"))):
            raise RequestError(
                "Without API keys the gateway answers to localhost only, and not to the name in this request "
                "(EAGER_API_KEYS lists keys).",
                code="permission_denied",
                status=403,
            )
        origin = headers.get("origin")
        if origin is None or origin in self.listed or "*" in self.listed or self._is_own(origin, headers.get("host")):
            return
        raise RequestError(
            "Pages of this origin may not connect (EAGER_CORS_ORIGINS lists those that may).",
            code="permission_denied",
            status=403,
        )

    def _is_own(self, origin: str, host: str | None) -> bool:
        """An open gateway is on this machine: another name in both headers is a name that was bound to it (DNS
        rebinding)."""
        try:
            parts = urlsplit(origin)
            return parts.netloc == host and (not self.open or is_loopback(parts.hostname or ""))
        except ValueError:
            return False


class OriginMiddleware:
    """Refuses before anything is read or done. Browsers let every page open a WebSocket, so these are always asked."""

    def __init__(self, app: ASGIApp, *, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" or (scope["type"] == "http" and self._origins.open):
            try:
                self._origins.require_allowed(Headers(scope=scope))
            except RequestError as error:
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _name(host: str) -> str:
    """Of a ``Host`` header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Whether a name or address, with or without brackets, is this machine's own."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
