"""API keys: who is calling, and what this caller may do.

Keys come from the configuration, plain or as ``sha256:<hex>`` (what ``sha256sum`` prints; a fast hash is enough for
keys that are random), or as a JSON object with limits. Only digests are kept, and a presented key is compared with all
of them in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any

import msgspec
from fastapi import Depends
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.edge.errors import error_response
from app.errors import RequestError
from app.gateway import CodeTool, Render

_NAMES_MODELS = re.compile(r"model|fallback", re.IGNORECASE)
HASHED = re.compile(r"sha256:([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. ``name`` owns what it stores. A limit that is None does not exist.

    Attributes:
        models: patterns (``gpt-*``) of the models it may use.
        concurrency: requests it may have running at once.
        render, code_tool: as in a request's ``eager`` object, where that does not say.
    """

    name: str
    models: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    concurrency: int | None = None
    render: Render | None = None
    code_tool: CodeTool | None = None

    def require_model(self, model: str) -> None:
        """
        Raises:
            RequestError: 403, the key is not allowed for the model.
        """
        if not self.may_use(model):
            raise RequestError(
                f"Your API key may not use the model `{model}`.", param="model", code="permission_denied", status=403
            )

    def require_models(self, fields: Mapping[str, Any]) -> None:
        """The same of all else in a request that some upstream reads as a model: OpenRouter's ``models``, LiteLLM's
        ``fallbacks``, whatever is named so.

        Raises:
            RequestError: 403, one of them is not allowed.
        """
        if self.models is None:
            return
        for name, value in fields.items():
            if _NAMES_MODELS.search(name):
                for model in _texts(value):
                    if not self.may_use(model):
                        raise RequestError(
                            f"Your API key may not use the model `{model}`.",
                            param=name,
                            code="permission_denied",
                            status=403,
                        )

    def may_use(self, model: str) -> bool:
        return self.models is None or any(fnmatchcase(model, pattern) for pattern in self.models)


#: Everybody, when no keys are configured.
ANYONE = Caller("anyone")


class _KeyEntry(msgspec.Struct, forbid_unknown_fields=True):
    """A key in its JSON form."""

    key: str | None = None
    sha256: str | None = None
    name: str | None = None
    models: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    concurrency: int | None = None
    render: Render | None = None
    code_tool: CodeTool | None = None


class Keyring:
    """The configured keys. An empty one lets everybody in."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """
        Raises:
            ValueError: an entry is no key, or two keys of one name disagree. The text of a key is never in the message.
        """
        self._callers: dict[bytes, Caller] = {}
        by_name: dict[str, Caller] = {}
        for position, entry in enumerate(entries, 1):
            digest, caller = _parse(entry.strip(), position)
            if by_name.setdefault(caller.name, caller) != caller:
                raise ValueError(f"API key {position}: another key named {caller.name!r} has other limits")
            self._callers[digest] = caller

    def __len__(self) -> int:
        return len(self._callers)

    def find(self, key: str) -> Caller | None:
        """Whose key this is. All keys are compared, so that the time taken tells nothing."""
        presented = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        found = None
        for digest, caller in self._callers.items():
            if hmac.compare_digest(digest, presented):
                found = caller
        return found

    def authenticate(self, authorization: str | None) -> Caller:
        """Who sends this ``Authorization`` header.

        Raises:
            RequestError: 401.
        """
        if not self._callers:
            return ANYONE
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise _unauthorized(
                "You didn't provide an API key. Send it in the header 'Authorization: Bearer YOUR_KEY'."
            )
        caller = self.find(key)
        if caller is None:
            raise _unauthorized("Incorrect API key provided.")
        return caller


class AuthMiddleware:
    """Refuses strangers before a byte of their body is read: FastAPI parses bodies before any dependency runs."""

    def __init__(self, app: ASGIApp, *, keyring: Keyring, prefix: str = "/v1/", but: str = "/v1/shared/") -> None:
        """``but``: what can be fetched by everybody who knows its link."""
        self._app = app
        self._keyring = keyring
        self._prefix = prefix
        self._but = but

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asks = scope["type"] in ("http", "websocket")
        if asks and scope["path"].startswith(self._prefix) and not self._is_open(scope):
            try:
                caller = self._keyring.authenticate(Headers(scope=scope).get("authorization"))
            except RequestError as error:
                await error_response(error)(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        return scope.get("method") in ("GET", "HEAD") and scope["path"].startswith(self._but)


async def authenticate(connection: HTTPConnection) -> Caller:
    """FastAPI dependency: the caller, whom ``AuthMiddleware`` has found."""
    caller: Caller = connection.state.caller
    return caller


#: The parameter of a route that only authenticated callers reach.
AuthenticatedCaller = Annotated[Caller, Depends(authenticate)]


def split_keys(text: str) -> tuple[str, ...]:
    """Entries of a setting: a JSON array of strings and objects, one JSON object, or a comma-separated list.

    Raises:
        ValueError: it begins like JSON and is none, or holds something else.
    """
    text = text.strip()
    if not text.startswith(("[", "{")):
        return tuple(entry.strip() for entry in text.split(",") if entry.strip())
    document: Any = json.loads(text)
    entries = document if isinstance(document, list) else [document]
    for position, entry in enumerate(entries, 1):
        if not isinstance(entry, str | dict):  # a null, say, of a template: its text would be a key
            raise ValueError(f"API key {position}: a text or an object is needed")
    return tuple(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries)


def _parse(entry: str, position: int) -> tuple[bytes, Caller]:
    fields = _KeyEntry(key=entry)
    if entry.startswith("{"):
        try:
            fields = msgspec.json.decode(entry, type=_KeyEntry)
        except msgspec.DecodeError as error:  # its message names fields and types, not values
            raise ValueError(f"API key {position}: {error}") from None
    if (fields.key is None) == (fields.sha256 is None):
        raise ValueError(f"API key {position}: give either 'key' or 'sha256'")
    digest = _digest(fields.key or f"sha256:{(fields.sha256 or '').removeprefix('sha256:')}", position)
    for limit in (fields.requests_per_minute, fields.concurrency):
        if limit is not None and limit < 1:
            raise ValueError(f"API key {position}: a limit must be at least 1")
    name = fields.name or f"key-{digest.hex()[:12]}"
    caller = Caller(
        name, fields.models, fields.requests_per_minute, fields.concurrency, fields.render, fields.code_tool
    )
    return digest, caller


def _digest(key: str, position: int) -> bytes:
    if hashed := HASHED.fullmatch(key):
        return bytes.fromhex(hashed[1])
    if key.startswith("sha256:"):
        raise ValueError(f"API key {position}: 'sha256:' must be followed by 64 hexadecimal digits")
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError(f"API key {position}: a key is printable ASCII without spaces")
    return hashlib.sha256(key.encode()).digest()


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value. Names of fields too: LiteLLM's lists of fallbacks are by the model they are for."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += [value["model"]] if "model" in value else [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value


def _unauthorized(message: str) -> RequestError:
    error = RequestError(message, code="invalid_api_key", status=401)
    error.headers = {"www-authenticate": "Bearer"}
    return error
