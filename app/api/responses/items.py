"""Output items while they come into being. Each knows its events; ``events.py`` numbers them and keeps their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from app.api.responses.outputs import Outputs
from app.events import CodeEnd, ToolCall
from app.extraction.assistant_message import merge_fields

#: Type of a Responses event and its fields, those left out that every event of an output item has.
Draft = tuple[str, dict[str, Any]]

#: Of a code call.
DoneStatus = Literal["completed", "incomplete", "failed"]
MessageStatus = Literal["completed", "incomplete"]

#: Of one token of a text.
Logprob = dict[str, Any]


class CodeItem:
    """A ``code_interpreter_call``. Its ``code.done`` is the join of its deltas, even where the call was cut short."""

    def __init__(self, id: str, call_id: str, container_id: str) -> None:
        self.id = id
        self.call_id = call_id
        self.outputs = Outputs()
        self._container_id = container_id
        self._code: list[str] = []
        self._written = False

    def open(self) -> list[Draft]:
        item = self._item("in_progress", code="", outputs=[])
        return [
            ("response.output_item.added", {"item": item}),
            ("response.code_interpreter_call.in_progress", {"item_id": self.id}),
        ]

    def write(self, text: str) -> list[Draft]:
        self._code.append(text)
        return [("response.code_interpreter_call_code.delta", {"item_id": self.id, "delta": text})]

    def carrier(self) -> Draft:
        """A standard event that says nothing, for our own events to ride on (PROTOCOL.md 4.3)."""
        if self._written:
            return "response.code_interpreter_call.interpreting", {"item_id": self.id}
        return "response.code_interpreter_call_code.delta", {"item_id": self.id, "delta": ""}

    def end_code(self) -> list[Draft]:
        """The code is complete. Does nothing the second time."""
        if self._written:
            return []
        self._written = True
        return [
            ("response.code_interpreter_call_code.done", {"item_id": self.id, "code": "".join(self._code)}),
            ("response.code_interpreter_call.interpreting", {"item_id": self.id}),
        ]

    def close(self) -> list[Draft]:
        """Everything but ``output_item.done``."""
        return [*self.end_code(), ("response.code_interpreter_call.completed", {"item_id": self.id})]

    def done(self, status: DoneStatus) -> dict[str, Any]:
        return self._item(status, code="".join(self._code), outputs=self.outputs.items())

    def _item(self, status: str, *, code: str, outputs: list[dict[str, str]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "code_interpreter_call",
            "status": status,
            "code": code,
            "container_id": self._container_id,
            "outputs": outputs,
        }


def code_status(end: CodeEnd) -> DoneStatus:
    """Code that raised, or ran out of time, is a result for the model: the call itself was completed."""
    return "incomplete" if end.status in ("interrupted", "incomplete") else "completed"


class ReasoningItem:
    """A ``reasoning`` item: what the model thinks, as its summary, which all SDKs show. ``fields`` are the same in the
    upstream's own form, which it may want back."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.fields: dict[str, Any] = {}
        self._text: list[str] = []

    def open(self) -> list[Draft]:
        return [("response.output_item.added", {"item": self._item("in_progress", [])})]

    def write(self, text: str, key: str) -> list[Draft]:
        merge_fields(self.fields, {key: text})
        begins = not self._text
        self._text.append(text)
        delta: Draft = ("response.reasoning_summary_text.delta", {**self._place(), "delta": text})
        if not begins:
            return [delta]
        return [("response.reasoning_summary_part.added", {**self._place(), "part": _summary("")}), delta]

    def close(self) -> list[Draft]:
        """Everything but ``output_item.done``."""
        if not self._text:
            return []
        text = "".join(self._text)
        return [
            ("response.reasoning_summary_text.done", {**self._place(), "text": text}),
            ("response.reasoning_summary_part.done", {**self._place(), "part": _summary(text)}),
        ]

    def done(self, status: MessageStatus, sealed: str) -> dict[str, Any]:
        summary = [_summary("".join(self._text))] if self._text else []
        return {**self._item(status, summary), "encrypted_content": sealed}

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "summary_index": 0}

    def _item(self, status: MessageStatus | Literal["in_progress"], summary: list[dict[str, str]]) -> dict[str, Any]:
        return {"id": self.id, "type": "reasoning", "status": status, "summary": summary}


def _summary(text: str) -> dict[str, str]:
    return {"type": "summary_text", "text": text}


def image_item(id: str, image: Any) -> tuple[list[Draft], dict[str, Any]] | None:
    """A picture of the model's (``{"image_url": {"url"}}``), as a call of OpenAI's own tool shows one: its events but
    for ``output_item.done``, and the item. None where it is elsewhere, and not in a data URI."""
    match image:
        case {"image_url": {"url": str(url)}} | {"url": str(url)} if url.startswith("data:"):
            head, _, data = url.partition(",")
        case _:
            return None
    if not head.endswith(";base64"):
        return None
    item = {"id": id, "type": "image_generation_call", "status": "completed", "result": data}
    drafts: list[Draft] = [
        ("response.output_item.added", {"item": {**item, "status": "in_progress", "result": None}}),
        ("response.image_generation_call.in_progress", {"item_id": id}),
        ("response.image_generation_call.completed", {"item_id": id}),
    ]
    return drafts, item


def flat_annotation(annotation: Any) -> Any:
    """A citation as Responses have it: chat completions put its fields into a field of their own."""
    match annotation:
        case {"type": str(kind)} if isinstance(inner := annotation.get(kind), dict):
            return {"type": kind, **inner}
    return annotation


class MessageItem:
    """A ``message`` with one part: text, or a refusal, which is no answer and must not be parsed as one. Opened at its
    first visible character: many models write line ends before they call a tool, and those are no message."""

    def __init__(self, id: str, *, refusal: bool = False) -> None:
        self.id = id
        self.refusal = refusal
        self._text: list[str] = []
        self._logprobs: list[Logprob] = []

    @property
    def text(self) -> str:
        return "".join(self._text)

    def open(self) -> list[Draft]:
        item = {"id": self.id, "type": "message", "status": "in_progress", "content": [], "role": "assistant"}
        return [
            ("response.output_item.added", {"item": item}),
            ("response.content_part.added", {**self._place(), "part": self._part("", [])}),
        ]

    def write(self, text: str, logprobs: list[Logprob]) -> list[Draft]:
        self._text.append(text)
        self._logprobs += logprobs
        if self.refusal:
            return [("response.refusal.delta", {**self._place(), "delta": text})]
        return [("response.output_text.delta", {**self._place(), "delta": text, "logprobs": logprobs})]

    def close(self, annotations: list[dict[str, Any]]) -> list[Draft]:
        """Everything but ``output_item.done``."""
        part = self._place()
        whole: Draft = ("response.output_text.done", {**part, "text": self.text, "logprobs": self._logprobs})
        if self.refusal:
            whole = ("response.refusal.done", {**part, "refusal": self.text})
        added = [
            ("response.output_text.annotation.added", {**part, "annotation_index": number, "annotation": annotation})
            for number, annotation in enumerate(annotations)
        ]
        return [
            *added,
            whole,
            ("response.content_part.done", {**part, "part": self._part(self.text, annotations)}),
        ]

    def done(self, status: MessageStatus, annotations: list[dict[str, Any]]) -> dict[str, Any]:
        content = [self._part(self.text, annotations)]
        return {"id": self.id, "type": "message", "status": status, "content": content, "role": "assistant"}

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "content_index": 0}

    def _part(self, text: str, annotations: list[dict[str, Any]]) -> dict[str, Any]:
        if self.refusal:
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "annotations": annotations, "logprobs": list(self._logprobs), "text": text}


def text_logprobs(told: Any) -> list[Logprob]:
    """What an upstream said about a piece of text; not all of them send every field, and some clients want them."""
    content = told.get("content") if isinstance(told, dict) else None
    entries = [entry for entry in content if isinstance(entry, dict)] if isinstance(content, list) else []
    return [{**entry, "top_logprobs": entry.get("top_logprobs") or []} for entry in entries]


def function_call(id: str, call: ToolCall, named: Mapping[str, str]) -> tuple[list[Draft], dict[str, Any]]:
    """A call of a function of the client's, all at once: its events but for ``output_item.done``, and the item.
    ``named`` is the function's name, and its namespace if it has one.

    Some upstreams write nothing where a function takes nothing. OpenAI never does here, and clients parse it unseen.
    """
    arguments = call.arguments if call.arguments.strip() else "{}"
    item = {
        "id": id,
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        **named,
        "arguments": arguments,
    }
    drafts: list[Draft] = [
        ("response.output_item.added", {"item": {**item, "status": "in_progress", "arguments": ""}}),
        ("response.function_call_arguments.delta", {"item_id": id, "delta": arguments}),
        ("response.function_call_arguments.done", {"item_id": id, "name": named["name"], "arguments": arguments}),
    ]
    return drafts, item
