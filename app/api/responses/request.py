"""A Responses request as a chat-completions one, and the fields of it that its response repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from app.api.responses.client_tools import loaded_tools
from app.api.responses.events import response_id_of
from app.api.responses.messages import Conversation
from app.api.responses.schemas import ResponsesRequest
from app.api.responses.tools import Tools, translate_tools
from app.api.tools import INTERPRETER_NAME
from app.api.turn_texts import is_parsed
from app.errors import RequestError
from app.ids import is_id
from app.store.item_parts import Item

INCLUDE_OUTPUTS = "code_interpreter_call.outputs"
INCLUDE_LOGPROBS = "message.output_text.logprobs"
INCLUDE_REASONING = "reasoning.encrypted_content"

#: What items are shown without, unless it is asked for, by their type.
_LEFT_OUT = {"code_interpreter_call": "outputs", "reasoning": "encrypted_content"}

#: Fields that mean the same to a chat upstream.
SAME = ("temperature", "top_p", "user")

#: What would need a service that is not here.
UNSUPPORTED = ("background", "conversation", "prompt")


def require_supported(request: ResponsesRequest) -> None:
    """
    Raises:
        RequestError: something is asked for that would silently not happen.
    """
    for name in UNSUPPORTED:
        if getattr(request, name):
            raise RequestError(f"'{name}' is not available here.", param=name, code="unsupported_parameter")


def input_items(request: ResponsesRequest) -> list[Item]:
    """The input as items, as ``/input_items`` lists them."""
    if isinstance(request.input, str):
        content = [{"type": "input_text", "text": request.input}]
        return [{"type": "message", "role": "user", "content": content}]
    return request.input


def upstream_body(
    request: ResponsesRequest,
    tools: Tools,
    items: Sequence[Item],
    *,
    file_names: Mapping[str, str],
    opened: Callable[[object], dict[str, Any] | None] = lambda _: None,
) -> dict[str, Any]:
    """The chat-completions request.

    Args:
        items: the whole conversation: those of the turns before (``Responses.chain``) and then this request's,
            references resolved. Instructions of turns before do not count any more.
        file_names: of ``file_ids(items)``.
        opened: the reasoning in ``encrypted_content``; None if it is not of this gateway.

    Raises:
        RequestError: the items are not well formed.
    """
    conversation = Conversation(
        code_tool=tools.code_tool or INTERPRETER_NAME, file_names=file_names, clients=tools.clients, opened=opened
    )
    messages = conversation.translate(items)
    if request.instructions:
        messages = [{"role": "system", "content": request.instructions}, *messages]
    body: dict[str, Any] = {"model": request.model, "messages": messages}
    body |= {name: value for name in SAME if (value := getattr(request, name)) is not None}
    if request.service_tier not in (None, "auto"):  # which leaves it to the upstream, and few know the field
        body["service_tier"] = request.service_tier
    if request.max_output_tokens is not None:
        body["max_tokens"] = request.max_output_tokens
    if tools.upstream:
        body["tools"] = tools.upstream
        if tools.choice is not None:
            body["tool_choice"] = tools.choice
        if request.parallel_tool_calls is False:
            body["parallel_tool_calls"] = False
    if request.reasoning and request.reasoning.get("effort"):
        body["reasoning_effort"] = request.reasoning["effort"]
    if includes_logprobs(request):
        body["logprobs"] = True
        if request.top_logprobs is not None:
            body["top_logprobs"] = request.top_logprobs
    if verbosity := (request.text or {}).get("verbosity"):
        body["verbosity"] = verbosity
    if (response_format := _response_format(request.text)) is not None:
        body["response_format"] = response_format
    return body


def _response_format(text: dict[str, Any] | None) -> dict[str, Any] | None:
    """
    Raises:
        RequestError: the format is none that we know.
    """
    match (text or {}).get("format"):
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "json_object"}
        case {"type": "json_schema", "name": str(), "schema": dict()} as given:
            names = ("name", "schema", "description", "strict")
            fields = {name: given[name] for name in names if given.get(name) is not None}
            return {"type": "json_schema", "json_schema": fields}
        case _:
            raise RequestError("The format is text, json_object or json_schema.", param="text.format")


def envelope(
    request: ResponsesRequest, *, warnings: Sequence[Mapping[str, Any]] = (), created_at: float
) -> dict[str, Any]:
    """The fields of the response object that are the same from its beginning to its end."""
    warned: dict[str, Any] = {"eager": list(warnings)} if warnings else {}
    return {
        **warned,
        "object": "response",
        "created_at": int(created_at),  # many languages' clients read no fraction
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "model": request.model,
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "reasoning": {"effort": None, "summary": None, **(request.reasoning or {})},
        "service_tier": request.service_tier or "default",
        "store": request.store is not False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": {"format": {"type": "text"}, **(request.text or {})},
        "tool_choice": request.tool_choice,
        "tools": request.tools,
        "top_logprobs": request.top_logprobs or 0,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": request.truncation or "disabled",
        "usage": None,
        "user": request.user,
        "metadata": request.metadata or {},
    }


def tools_of(
    request: ResponsesRequest, *, interpreter: bool = False, refuse: bool = False, hint: bool = False
) -> Tools:
    """
    Args:
        interpreter: the model has it also where the client does not declare it.
        refuse: services that are not here, in place of leaving them out with a warning.
        hint: the interpreter's description tells how to write code that runs early.

    Raises:
        RequestError: a tool that is not well formed, or cannot be had here.
    """
    tools = request.tools
    if interpreter and not any(tool.get("type") == "code_interpreter" for tool in tools):
        tools = [*tools, {"type": "code_interpreter"}]
    return translate_tools(tools, request.tool_choice, loaded=loaded_tools(request.input), refuse=refuse, hint=hint)


def is_json(request: ResponsesRequest) -> bool:
    """Whether the client parses the answer."""
    return is_parsed(_response_format(request.text))


def includes_outputs(request: ResponsesRequest) -> bool:
    return INCLUDE_OUTPUTS in (request.include or ())


def includes_logprobs(request: ResponsesRequest) -> bool:
    return INCLUDE_LOGPROBS in (request.include or ())


def includes_reasoning(request: ResponsesRequest) -> bool:
    """What is not kept here can only come back from the client."""
    return request.store is False or INCLUDE_REASONING in (request.include or ())


def replayed_container(items: Sequence[Item]) -> str | None:
    """The container of the last code call in a conversation: ``auto`` goes on in it, if it is still alive."""
    calls = (item.get("container_id") for item in reversed(items) if item.get("type") == "code_interpreter_call")
    return next((id for id in calls if is_id(id)), None)


def file_ids(items: Sequence[Item]) -> list[str]:
    """Files that messages and results refer to by id, each once."""
    return list(dict.fromkeys(_file_ids(items)))


def _file_ids(items: Sequence[Item]) -> Iterator[str]:
    for item in items:
        for parts in (item.get("content"), item.get("output")):
            for part in parts if isinstance(parts, list) else ():
                match part:
                    case {"type": "input_file" | "input_image", "file_id": file_id} if is_id(file_id):
                        yield file_id


def referenced_responses(items: Sequence[Item]) -> list[str]:
    """Responses whose items are referred to by id (``item_reference``: the AI SDK does so for stored answers), or that
    know what the code of an item said, which its client was not shown."""
    found = (response_id_of(id) for item in items if (id := _reference(item) or _shortened(item)) is not None)
    return list(dict.fromkeys(response_id for response_id in found if response_id is not None))


def resolve_references(items: Sequence[Item], known: Mapping[str, Item]) -> list[Item]:
    """The items with references replaced by what they refer to, and code calls with their outputs where they are known.

    Args:
        known: items of the referenced responses, by id.

    Raises:
        RequestError: 404, there is no such item.
    """
    resolved = []
    for position, item in enumerate(items):
        reference = _reference(item)
        if reference is None:
            stored: Item = known.get(_shortened(item) or "", {})
            resolved.append(item | {name: stored[name] for name in _LEFT_OUT.values() if name in stored})
        elif reference in known:
            resolved.append(known[reference])
        elif not reference.startswith("rs_"):  # reasoning that is not kept any more is left out
            raise RequestError(
                f"Item with id '{reference}' not found.",
                param=f"input.{position}.id",
                code="item_not_found",
                status=404,
            )
    return resolved


def _reference(item: Item) -> str | None:
    id = item.get("id")
    bare = item.get("type") in (None, "item_reference") and "role" not in item
    return id if bare and is_id(id) else None


def _shortened(item: Item) -> str | None:
    """The id of an item that came back as it was shown: without ``include`` a code call has no outputs, and reasoning
    nothing to bring back."""
    id, name = item.get("id"), _LEFT_OUT.get(str(item.get("type")))
    return id if name is not None and item.get(name) is None and is_id(id) else None
