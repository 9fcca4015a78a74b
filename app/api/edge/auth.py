"""API keys: who is calling, and what this caller may do.

Keys come from the configuration, plain or as ``sha256:<hex>`` (what ``sha256sum`` prints; a fast hash is enough for
keys that are random), or as a JSON object with limits. Only digests are kept, and a presented key is compared with all
of them in constant time. They may also come from a file (``key_file.py``), and be others while we run.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.edge.errors import error_response
from app.api.edge.wrong_keys import WrongKeys, address_of
from app.errors import RequestError
from app.gateway import CodeTool, Render
from app.sandbox.egress.rules import Rules

#: Of the paths that callers with keys alone reach.
_PREFIXES: Final = ("/v1/", "/mcp")
_NAMES_MODELS = re.compile(r"model|fallback", re.IGNORECASE)
HASHED = re.compile(r"sha256:([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. ``name`` owns what it stores. A limit that is None does not exist.

    Attributes:
        models: patterns (``gpt-*``) of the models it may use.
        concurrency: requests it may have running at once.
        render, code_tool: as in a request's ``eager`` object, where that does not say.
        weight: how large its share is, beside those of the other keys (``app/shares.py``).
        tokens_per_minute, cpu_seconds_per_minute: of upstreams' answers with their prompts, and of its code.
        stored_mb: of what it has uploaded and what its containers and links keep.
        egress_allow: what its code may reach, in place of the deployment's list.
    """

    name: str
    models: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    concurrency: int | None = None
    render: Render | None = None
    code_tool: CodeTool | None = None
    weight: float = 1.0
    tokens_per_minute: int | None = None
    cpu_seconds_per_minute: float | None = None
    stored_mb: int | None = None
    egress_allow: tuple[str, ...] | None = None

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


class NoKey(RequestError):
    """No key was sent that is good for anything."""

    status = 401
    code: str | None = "invalid_api_key"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers = {"www-authenticate": "Bearer"}


class WrongKey(NoKey):
    """A key that nobody has."""


#: Everybody, when no keys are configured.
ANYONE = Caller("anyone")


class _KeyEntry(msgspec.Struct, forbid_unknown_fields=True):
    """A key in its JSON form."""

    key: str | None = None
    sha256: str | None = None
    name: str | None = None
    models: tuple[str, ...] | None = None
    requests_per_minute: Annotated[int, msgspec.Meta(ge=1)] | None = None
    concurrency: Annotated[int, msgspec.Meta(ge=1)] | None = None
    render: Render | None = None
    code_tool: CodeTool | None = None
    weight: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 1.0
    tokens_per_minute: Annotated[int, msgspec.Meta(ge=1)] | None = None
    cpu_seconds_per_minute: Annotated[float, msgspec.Meta(gt=0)] | None = None
    stored_mb: Annotated[int, msgspec.Meta(ge=0)] | None = None
    egress_allow: tuple[str, ...] | None = None
    expires: str | None = None

    def caller(self, name: str) -> Caller:
        """Who has the key."""
        fields = {field: getattr(self, field) for field in Caller.__slots__ if field != "name"}
        return Caller(name, **fields)


@dataclass(frozen=True, slots=True)
class _KnownKey:
    caller: Caller
    expires_at: float | None


class Keyring:
    """The configured keys. An empty one lets everybody in, unless it is ``closed``: then it lets in nobody.

    ``wrong`` keeps those away who try one key after the other.
    """

    def __init__(
        self,
        entries: Iterable[str] = (),
        *,
        closed: bool = False,
        wrong: WrongKeys | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Raises:
            ValueError: an entry is no key, or two keys of one name disagree. The text of a key is never in the message.
        """
        self._closed = closed
        self._wrong = wrong or WrongKeys()
        self._clock = clock
        self._keys: dict[bytes, _KnownKey] = {}
        self._callers: dict[str, Caller] = {}
        self._total_weight = self._least_weight = 0.0
        self.replace(entries)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<Keyring of {len(self)} keys>"

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in."""
        return not self._keys and not self._closed

    def replace(self, entries: Iterable[str]) -> None:
        """Other keys from now on. What was let in goes on.

        Raises:
            ValueError: as the constructor; nothing has changed then.
        """
        keys: dict[bytes, _KnownKey] = {}
        by_name: dict[str, Caller] = {}
        for position, entry in enumerate(entries, 1):
            digest, key = _parse(entry.strip(), position)
            caller = key.caller
            if by_name.setdefault(caller.name, caller) != caller:
                raise ValueError(f"API key {position}: another key named {caller.name!r} has other limits")
            keys[digest] = key
        self._keys = keys
        self._callers = by_name
        weights = [caller.weight for caller in by_name.values()]
        self._total_weight, self._least_weight = sum(weights), min(weights, default=0.0)

    def callers(self) -> Iterator[Caller]:
        """Of all keys, those that have expired included."""
        return iter(self._callers.values())

    def caller(self, name: str) -> Caller | None:
        """Who has this name, if anybody still has."""
        return self._callers.get(name)

    def fraction(self, name: str) -> float:
        """The part of everything that is a caller's, by the weights of all (``app/shares.py``)."""
        if not self._total_weight:
            return 1.0
        # One whose key was withdrawn still holds what it has, and gets no more than the least of the others.
        caller = self._callers.get(name)
        return (self._least_weight if caller is None else caller.weight) / self._total_weight

    def find(self, key: str) -> Caller | None:
        """Whose key this is. All keys are compared, so that the time taken tells nothing."""
        found = self._find(key)
        return None if found is None or self._has_expired(found) else found.caller

    def authenticate(self, authorization: str | None) -> Caller:
        """Who sends this ``Authorization`` header.

        Raises:
            RequestError: 401.
        """
        if self.is_open:
            return ANYONE
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise NoKey("You didn't provide an API key. Send it in the header 'Authorization: Bearer YOUR_KEY'.")
        found = self._find(key)
        if found is None:
            raise WrongKey("Incorrect API key provided.")
        if self._has_expired(found):
            raise NoKey("The API key has expired.")
        return found.caller

    async def admit(self, authorization: str | None, address: str) -> Caller:
        """The same, from an address.

        Raises:
            RequestError: 401; 429, too many wrong keys came from there.
        """
        try:
            caller = self.authenticate(authorization)
        except WrongKey:
            await self._wrong.note(address)
            raise
        if not self.is_open:
            await self._wrong.require_trusted(address, caller.name)
        return caller

    def _find(self, key: str) -> _KnownKey | None:
        presented = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        found = None
        for digest, known in self._keys.items():
            if hmac.compare_digest(digest, presented):
                found = known
        return found

    def _has_expired(self, key: _KnownKey) -> bool:
        return key.expires_at is not None and key.expires_at <= self._clock()


class AuthMiddleware:
    """Refuses strangers before a byte of their body is read: FastAPI parses bodies before any dependency runs."""

    def __init__(
        self, app: ASGIApp, *, keyring: Keyring, prefix: str | tuple[str, ...] = _PREFIXES, but: str = "/v1/shared/"
    ) -> None:
        """``but``: what can be fetched by everybody who knows its link."""
        self._app = app
        self._keyring = keyring
        self._prefix = prefix
        self._but = but

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asks = scope["type"] in ("http", "websocket")
        if asks and scope["path"].startswith(self._prefix) and not self._is_open(scope):
            try:
                caller = await self._keyring.admit(Headers(scope=scope).get("authorization"), address_of(scope))
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


def _parse(entry: str, position: int) -> tuple[bytes, _KnownKey]:
    fields = _KeyEntry(key=entry)
    if entry.startswith("{"):
        try:
            fields = msgspec.json.decode(entry, type=_KeyEntry)
        except msgspec.DecodeError as error:  # its message names fields and types, not values
            raise ValueError(f"API key {position}: {error}") from None
    if (fields.key is None) == (fields.sha256 is None):
        raise ValueError(f"API key {position}: give either 'key' or 'sha256'")
    digest = _digest(fields.key or f"sha256:{(fields.sha256 or '').removeprefix('sha256:')}", position)
    try:
        Rules.parse(fields.egress_allow or ())
        expires_at = None if fields.expires is None else _moment(fields.expires)
    except ValueError as error:
        raise ValueError(f"API key {position}: {error}") from None
    return digest, _KnownKey(fields.caller(fields.name or f"key-{digest.hex()[:12]}"), expires_at)


def _moment(text: str) -> float:
    """A date (its beginning) or a time as in RFC 3339; UTC where it does not say."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"'expires' is a date or a time, such as 2027-01-31, not {text!r}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


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
