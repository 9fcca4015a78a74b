"""Items of a conversation as the messages of a chat-completions upstream.

Clients resend whole histories: also items of containers that have expired. Reasoning goes back to the upstream in the
fields that it came in, if it was signed here (``sealed_reasoning.py``); other reasoning is left out. Every call that
the upstream sees is followed at once by its result, as chat completions demand. Such a result is a text: what else a
function has answered with, a picture, follows the results of its turn in the user's name.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.api.responses.client_items import as_function_item
from app.api.responses.client_tools import ClientTools
from app.errors import RequestError
from app.events import ChatMessage
from app.extraction.assistant_message import merge_fields, with_reasoning
from app.store.item_parts import Item

#: What a function was answered: the text, and parts that are none.
FunctionResult = tuple[str, list[dict[str, Any]]]

#: Roles of messages; ``developer`` is known to OpenAI's own servers only.
ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}

#: Items that say nothing to a chat upstream: what services did whose results are in the messages behind them, and what
#: only their own server can read.
SKIPPED = {
    "additional_tools",
    "compaction",
    "compaction_trigger",
    "computer_call",
    "computer_call_output",
    "configuration_update",
    "file_search_call",
    "image_generation_call",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_list_tools",
    "program",
    "program_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
}


class Conversation:
    """Translates items, one after the other. ``items`` may be of several turns, in order.

    Args:
        code_tool: name of the tool that replayed code calls are said to have been.
        file_names: names of the files that messages refer to by id; they lie in the container. Others do not any more.
        clients: tools of the client's, whose calls are said to have been of functions.
        opened: the fields in an ``encrypted_content``; None if it was not signed here.
    """

    def __init__(
        self,
        *,
        code_tool: str,
        file_names: Mapping[str, str],
        clients: ClientTools | None = None,
        opened: Callable[[object], dict[str, Any] | None] = lambda _: None,
    ) -> None:
        self._opened = opened
        #: Of the answer whose message is to come.
        self._reasoning: dict[str, Any] = {}
        #: The message of an answer that has reasoning: calls that follow at once are of the same answer.
        self._thought: ChatMessage | None = None
        self._code_tool = code_tool
        self._file_names = file_names
        self._clients = clients or ClientTools()
        self._messages: list[ChatMessage] = []
        self._results: dict[int, FunctionResult] = {}
        self._calls: dict[int, ChatMessage] = {}

    def translate(self, items: Sequence[Item], *, param: str = "input") -> list[ChatMessage]:
        """
        Raises:
            RequestError: an item is not well formed, or a call and its result do not go together.
        """
        items = [as_function_item(item, self._clients) for item in items]
        self._results = self._pair(items, param)
        for position, item in enumerate(items):
            self._add(item, position, f"{param}.{position}")
        self._end_calls(param)
        return self._messages

    def _add(self, item: Item, position: int, param: str) -> None:
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind != "function_call":
            self._end_calls(param)
        match kind:
            case "message":
                self._message(item, param)
            case "function_call":
                self._calls[position] = _call(
                    _text(item, "call_id", param), _text(item, "name", param), _text(item, "arguments", param)
                )
            case "function_call_output":
                _text(item, "call_id", param)
            case "code_interpreter_call":
                self._code_call(item, param)
            case "mcp_call":
                self._service_call(item, param)
            case "reasoning":
                self._think(self._opened(item.get("encrypted_content")) or {})
            case str() if kind in SKIPPED:
                pass
            case None:
                raise RequestError(
                    f"Missing required parameter: '{param}.type'.",
                    param=f"{param}.type",
                    code="missing_required_parameter",
                )
            case _:
                raise RequestError(f"Items of type '{kind}' are not available here.", param=f"{param}.type")

    def _message(self, item: Item, param: str) -> None:
        role = ROLES.get(str(item.get("role")))
        if role is None:
            raise RequestError("A message's role is user, assistant, system or developer.", param=f"{param}.role")
        content = self._content(item.get("content"), f"{param}.content")
        if role != "user" and isinstance(content, list):
            content = "".join(part.get("text", "") for part in content)
        message = {"role": role, "content": content}
        self._thought = None
        if role == "assistant":
            message = self._said(message)
        self._messages.append(message)

    def _think(self, fields: dict[str, Any]) -> None:
        """Reasoning stands before the message it led to; what an upstream sent late belongs to the one before."""
        late = fields.pop("late", False)
        if late and self._thought is not None:
            kept = {name: self._thought[name] for name in fields if name in self._thought}
            merge_fields(kept, fields)
            self._thought.update(with_reasoning(self._thought, kept))
        else:
            merge_fields(self._reasoning, fields)

    def _said(self, message: ChatMessage) -> ChatMessage:
        """The message of an answer, with what was thought before it."""
        fields, self._reasoning = self._reasoning, {}
        message = with_reasoning(message, fields)
        self._thought = message if fields else None
        return message

    def _content(self, content: object, param: str) -> str | list[dict[str, Any]]:
        if isinstance(content, str):
            return content
        if not isinstance(content, list):
            raise RequestError("A message's content is a text or a list of parts.", param=param)
        parts = [self._part(part, f"{param}.{position}") for position, part in enumerate(content)]
        if all(part["type"] == "text" for part in parts):  # some upstreams take nothing but a text
            return "\n".join(part["text"] for part in parts)
        return parts

    def _part(self, part: Any, param: str) -> dict[str, Any]:
        match part:
            case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
                return {"type": "text", "text": text}
            case {"type": "refusal", "refusal": str(text)}:
                return {"type": "text", "text": text}
            case {"type": "input_image", "image_url": str(url)}:
                detail = {"detail": part["detail"]} if part.get("detail") else {}
                return {"type": "image_url", "image_url": {"url": url, **detail}}
            case {"type": "input_file" | "input_image", "file_id": str(file_id)}:
                name = self._file_names.get(file_id)
                told = f": /mnt/data/{name}" if name is not None else ", which cannot be read any more"
                return {"type": "text", "text": f"[The user has attached a file{told}]"}
            case {"type": "input_file", "file_data": str(data)}:
                name = part.get("filename") or "file"
                return {"type": "file", "file": {"filename": name, "file_data": data}}
            case _:
                raise RequestError("A part of a message that is not available here, or not well formed.", param=param)

    def _code_call(self, item: Item, param: str) -> None:
        """A code call is followed by what its code said, as far as the item still tells."""
        call = _call(_text(item, "id", param), self._code_tool, json.dumps({"code": item.get("code") or ""}))
        cut = "\n[The code did not run to its end.]" if item.get("status") == "incomplete" else ""
        self._ask([call])
        self._answer(call["id"], _logs(item.get("outputs")) + cut)

    def _service_call(self, item: Item, param: str) -> None:
        """A call that another server has run for the model, with what came of it."""
        name = "__".join(filter(None, (str(item.get("server_label") or ""), _text(item, "name", param))))
        call = _call(_text(item, "id", param), name, _text(item, "arguments", param))
        self._ask([call])
        self._answer(call["id"], str(item.get("output") or item.get("error") or ""))

    def _end_calls(self, param: str) -> None:
        """Function calls in a row are one turn of the model, and all of their results follow it."""
        if not self._calls:
            return
        calls, self._calls = self._calls, {}
        self._ask(list(calls.values()))
        shown: list[dict[str, Any]] = []
        for position, call in calls.items():
            result = self._results.get(position)
            if result is None:
                raise RequestError(f"No tool output found for function call {call['id']}.", param=param)
            text, parts = result
            if parts:
                text = f"{text}\n(shown below)".lstrip()
                shown += [{"type": "text", "text": f"Shown by {call['function']['name']}:"}, *parts]
            self._answer(call["id"], text)
        if shown:
            self._messages.append({"role": "user", "content": shown})

    def _pair(self, items: Sequence[Item], param: str) -> dict[int, FunctionResult]:
        """What each function call was answered, by the call's position.

        An id alone does not tell: some upstreams number the calls of every turn anew (PROTOCOL.md 1.3), so a result
        belongs to the first call with its id that has none yet. One more than there are calls is the last one's, said
        again.

        Raises:
            RequestError: a result is not well formed, or of no call.
        """
        results: dict[int, FunctionResult] = {}
        calls: dict[str, deque[int]] = {}  # that have no result yet
        early: dict[str, FunctionResult] = {}  # results that stand before their call
        answered: dict[str, int] = {}
        for position, item in enumerate(items):
            id = item.get("call_id")
            if not isinstance(id, str):
                continue  # refused where it is translated
            if item.get("type") == "function_call":
                if id in early:
                    results[position] = early.pop(id)
                    answered[id] = position
                else:
                    calls.setdefault(id, deque()).append(position)
            elif item.get("type") == "function_call_output":
                result = self._result(item.get("output"), f"{param}.{position}.output")
                if calls.get(id):
                    answered[id] = calls[id].popleft()
                if id in answered:
                    results[answered[id]] = result
                else:
                    early[id] = result
        if early:
            raise RequestError(f"No function call found for the output with call_id {next(iter(early))}.", param=param)
        return results

    def _result(self, output: object, param: str) -> FunctionResult:
        if isinstance(output, str):
            return output, []
        if not isinstance(output, list):
            raise RequestError("A function's output is a text or a list of parts.", param=param)
        parts = [self._part(part, f"{param}.{position}") for position, part in enumerate(output)]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        return "\n".join(texts), [part for part in parts if part["type"] != "text"]

    def _ask(self, calls: list[ChatMessage]) -> None:
        last = self._messages[-1] if self._messages else None
        if self._thought is not None and not self._reasoning:
            self._thought["tool_calls"] = [*self._thought.get("tool_calls", ()), *calls]
        elif last is not None and last["role"] == "assistant" and "tool_calls" not in last and not self._reasoning:
            last["tool_calls"] = calls
        else:
            self._messages.append(self._said({"role": "assistant", "content": None, "tool_calls": calls}))

    def _answer(self, call_id: str, text: str) -> None:
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": text or "(no output)"})


def _call(id: str, name: str, arguments: str) -> ChatMessage:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _text(item: Item, name: str, param: str) -> str:
    value = item.get(name)
    if value is None:
        raise RequestError(
            f"Missing required parameter: '{param}.{name}'.",
            param=f"{param}.{name}",
            code="missing_required_parameter",
        )
    if not isinstance(value, str):
        raise RequestError(f"'{name}' is a text.", param=f"{param}.{name}")
    return value


def _logs(outputs: object) -> str:
    """Images cannot be shown to a chat upstream in a tool's result: it is told that they were there."""
    if not isinstance(outputs, list):
        return "(output not kept)"
    texts = []
    for output in outputs:
        match output:
            case {"type": "logs", "logs": str(logs)}:
                texts.append(logs)
            case {"type": "image"}:
                texts.append("[image]")
    return "\n".join(texts)
