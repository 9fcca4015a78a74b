"""From a request's ``eager`` object and ``X-Eager-*`` headers to the pipeline's options."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from app.api.edge.auth import Caller
from app.api.edge.validation import validated
from app.api.schemas import EagerOptions
from app.api.tools import code_tool_names
from app.errors import RequestError
from app.gateway import Gateway
from app.pipeline.run import OnFailure, RunOptions
from app.pipeline.transaction import RollbackPolicy

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


def pipeline_options(
    options: EagerOptions,
    gateway: Gateway,
    headers: Mapping[str, str],
    *,
    sources: Collection[str],
    max_turns: int,
    on_error: OnFailure = "interrupt",
    rollback: RollbackPolicy = "off",
) -> RunOptions:
    """The endpoint's defaults (the named arguments) and the deployment's filled in, limits applied."""
    if options.tools == "off":
        tools: frozenset[str] = frozenset()
    else:
        tools = gateway.tools if options.tools is None else code_tool_names(options.tools)
    return RunOptions(
        mode=options.mode,
        on_error=options.on_error or on_error,
        repair_from=options.repair_from,
        max_repairs=gateway.max_repairs if options.max_repairs is None else options.max_repairs,
        rollback=options.rollback or rollback,
        sources=frozenset(sources if options.sources is None else options.sources),
        tools=tools,
        gate=options.gate or gateway.gate,
        max_turns=min(options.max_turns or max_turns, gateway.turn_limit),
        timeout_s=min(options.timeout_s or gateway.timeout_s, gateway.timeout_s),
        headers=forwarded_headers(gateway, headers),
    )


def drop_in_options(
    options: EagerOptions, gateway: Gateway, headers: Mapping[str, str], *, sources: Collection[str] | None = None
) -> RunOptions:
    """The same for OpenAI's endpoints: code runs to an answer, and what fails is repaired on the way. ``sources`` are
    the default in the place of the deployment's."""
    return pipeline_options(
        options,
        gateway,
        headers,
        sources=gateway.sources if sources is None else sources,
        max_turns=gateway.turn_limit,
        on_error="repair",
        rollback="on_syntax_error",
    )


def offers_interpreter(options: EagerOptions, gateway: Gateway, caller: Caller, *, is_alias: bool) -> bool:
    """Whether the model has the interpreter also where the client does not declare it. ``is_alias``: the model was
    asked for by the name that turns this on."""
    if options.tools == "off":
        return False
    return (options.code_tool or ("always" if is_alias else caller.code_tool or gateway.code_tool)) == "always"


def session_id(metadata: Mapping[str, Any] | None) -> str | None:
    """``metadata.session_id``: what the client calls the session that its code is to run in (PROTOCOL.md 6)."""
    name = (metadata or {}).get("session_id")
    return name if isinstance(name, str) and name else None


def forwarded_headers(gateway: Gateway, headers: Mapping[str, str]) -> dict[str, str]:
    """What of the client's headers the upstream is to see."""
    authorization = headers.get("authorization")
    return {"authorization": authorization} if gateway.pass_authorization and authorization else {}
