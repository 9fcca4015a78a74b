"""What a request asks for beside its model: in its ``eager`` object, in ``X-Eager-*`` headers, in ``metadata``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from app.api.edge.validation import validated
from app.api.schemas import EagerOptions
from app.errors import RequestError
from app.gateway import Gateway

PREFIX = "x-eager-"


def with_headers(options: EagerOptions, headers: Mapping[str, str]) -> EagerOptions:
    """Headers reach us through SDKs that drop unknown body fields. The body wins. Values are JSON or plain words:
    ``X-Eager-Mode: serial``, ``X-Eager-Max-Turns: 4``, ``X-Eager-Sources: tool,fence``.

    Raises:
        RequestError: an unknown name or a wrong value.
    """
    given = {
        (option := name.removeprefix(PREFIX).replace("-", "_")): _value(option, value)
        for name, value in headers.items()
        if name.startswith(PREFIX)
    }
    if not given:
        return options
    for name in ("sources", "tools"):
        if isinstance(given.get(name), str) and given[name] != "off":
            given[name] = [item.strip() for item in given[name].split(",")]
    return validated(EagerOptions, {**given, **options.model_dump(exclude_unset=True)}, under=("eager",))


def _value(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError:
        raise RequestError("Nested too deeply.", param=f"eager.{option}") from None


def session_id(metadata: Mapping[str, Any] | None) -> str | None:
    """``metadata.session_id``: what the client calls the session that its code is to run in (PROTOCOL.md 6)."""
    name = (metadata or {}).get("session_id")
    return name if isinstance(name, str) and name else None


def forwarded_headers(gateway: Gateway, headers: Mapping[str, str]) -> dict[str, str]:
    """What of the client's headers the upstream is to see."""
    authorization = headers.get("authorization")
    return {"authorization": authorization} if gateway.pass_authorization and authorization else {}
