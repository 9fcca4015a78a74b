"""Whether an answer is rendered, and what comes with it: chosen by the request, the name of its model, the key, or the
deployment, in this order.

Front ends in which nothing else can be set ask for a model's alias (``MODEL:eager``). It turns on all that they need:
an answer with its code and output in it, the interpreter as a tool, and code from fences and tags of models that call
no tools.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.api.model_requests import ALL_SOURCES, ModelRequest
from app.api.schemas import CompletionRequest
from app.api.turn_texts import is_parsed
from app.render.code_blocks import Style

#: Of the alias, where the deployment names no style: what code says is shown as soon as it has said it.
ALIAS_STYLE: Style = "interleaved"


@dataclass(frozen=True)
class RenderChoice:
    """``style`` is None where nothing is rendered; ``sources`` where code is looked for if the request does not say,
    None for the deployment's default."""

    style: Style | None
    code_tool: bool
    hint: bool
    sources: frozenset[str] | None


def choose(body: CompletionRequest, asked: ModelRequest) -> RenderChoice:
    gateway = asked.services.gateway
    render = asked.caller.render or gateway.render
    if asked.by_alias and render == "none":
        render = ALIAS_STYLE
    render = asked.options.render or render
    style: Style | None = None if render == "none" or is_parsed(body.response_format) else render
    return RenderChoice(
        style=style,
        code_tool=asked.offers_interpreter and not is_parsed(body.response_format),
        hint=(asked.options.hint or gateway.hint) == "auto",
        sources=ALL_SOURCES if asked.by_alias else None,
    )
