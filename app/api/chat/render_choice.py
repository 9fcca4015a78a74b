"""Whether an answer is rendered, and what comes with it: chosen by the request, the name of its model, the key, or the
deployment, in this order.

Front ends in which nothing else can be set ask for a model's alias (``MODEL:eager``). It turns on all that they need:
an answer with its code and output in it, the interpreter as a tool, and code from fences and tags of models that call
no tools.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.api.aliases import without_suffix
from app.api.edge.auth import Caller
from app.api.options import offers_interpreter
from app.api.schemas import CompletionRequest, EagerOptions
from app.api.turn_texts import is_parsed
from app.gateway import Gateway
from app.render.code_blocks import Style

_ALL_SOURCES = frozenset({"tool", "fence", "tag"})
#: Of the alias, where the deployment names no style: what code says is shown as soon as it has said it.
ALIAS_STYLE: Style = "interleaved"


@dataclass(frozen=True)
class RenderChoice:
    """``style`` is None where nothing is rendered; ``model`` what the upstream calls the model; ``sources`` where code
    is looked for if the request does not say, None for the deployment's default."""

    style: Style | None
    code_tool: bool
    hint: bool
    model: str
    sources: frozenset[str] | None


def choose(body: CompletionRequest, asked: EagerOptions, gateway: Gateway, caller: Caller) -> RenderChoice:
    model, is_alias = without_suffix(body.model, gateway.model_suffix)
    render = caller.render or gateway.render
    if is_alias and render == "none":
        render = ALIAS_STYLE
    render = asked.render or render
    code_tool = offers_interpreter(asked, gateway, caller, is_alias=is_alias)
    style: Style | None = None if render == "none" or is_parsed(body.response_format) else render
    return RenderChoice(
        style=style,
        code_tool=code_tool and not is_parsed(body.response_format),
        hint=(asked.hint or gateway.hint) == "auto",
        model=model,
        sources=_ALL_SOURCES if is_alias else None,
    )
