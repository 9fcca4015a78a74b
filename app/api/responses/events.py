"""Our event stream as the events of ``/v1/responses``, in exactly OpenAI's order (PROTOCOL.md 4.1 to 4.3).

Items never overlap: while one is open, what belongs to a later one is held back until it closes. So the code of a
second parallel call is shown when the first has run, which is also when OpenAI would show it. Our own events are not
held back: they ride, in their true order, in ``eager`` on events of the open item, or on the next event there is.

    created, in_progress,  { added, in_progress, code.delta*, code.done, interpreting+, completed, item.done
                           | added, summary_part.added, summary_text.delta+, .done, summary_part.done, item.done
                           | added, part.added, text.delta+, annotation*, text.done, part.done, item.done
                           | added, part.added, refusal.delta+, refusal.done, part.done, item.done
                           | added, arguments.delta, arguments.done, item.done
                           | added, item.done }*,
    completed | incomplete | error, failed
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from app.api.responses.citations import cite
from app.api.responses.client_tools import ClientTools
from app.api.responses.items import (
    CodeItem,
    DoneStatus,
    Draft,
    Logprob,
    MessageItem,
    MessageStatus,
    ReasoningItem,
    code_status,
    flat_annotation,
    image_item,
    text_logprobs,
)
from app.api.responses.outputs import shown
from app.api.responses.usage import response_usage
from app.events import (
    ChunkDetected,
    CodeEnd,
    CodeStart,
    DeltaExtra,
    Done,
    Error,
    ErrorBody,
    Event,
    ExecEnd,
    ExecError,
    ExecOutput,
    ExecResult,
    ExecStart,
    Interrupt,
    Rollback,
    SessionLost,
    Start,
    Token,
    ToolCall,
    TurnEnd,
)
from app.extraction.assistant_message import join_details, merge_fields

#: Type of an event, and its data.
Emitted = tuple[str, dict[str, Any]]

#: Our own events that have no counterpart among OpenAI's.
CARRIED = (
    ChunkDetected,
    CodeEnd,
    CodeStart,
    ExecEnd,
    ExecError,
    ExecOutput,
    ExecResult,
    ExecStart,
    Interrupt,
    Rollback,
    SessionLost,
)

#: Fields of a delta that have a place among OpenAI's items.
_OWN_ITEMS = frozenset({"reasoning_details", "images", "annotations"})

#: Of the ids of items.
_PREFIXES = frozenset({"apc", "ci", "ctc", "fc", "ig", "lsh", "msg", "rs", "sh", "tsc"})

#: Why an answer may be cut short, in OpenAI's words.
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseStream:
    """A pure core: our events in, Responses events out. Also makes the answer that is not streamed.

    Attributes:
        response: the response object, when it is over.
        output_items: finished items, complete, also where the client did not ask to ``include`` outputs.
    """

    def __init__(
        self,
        response_id: str,
        *,
        envelope: Mapping[str, Any],
        include_outputs: bool,
        include_logprobs: bool = False,
        include_reasoning: bool = False,
        seal: Callable[[Mapping[str, Any]], str] = str,
        clients: ClientTools | None = None,
        carry_events: bool = False,
        container_id: str | None = None,
    ) -> None:
        """
        Args:
            response_id: ``resp_...``; the items' ids are made from it.
            envelope: the response's fields that do not change (``request.envelope``).
            include_reasoning: whether the client is given what of the model's reasoning it may bring back.
            seal: makes that, from fields of the upstream's message.
            clients: the tools that the client runs, whose calls become items of their kinds.
            carry_events: whether our own events ride along in ``eager``. The summary always does.
            container_id: known to the client; None if it is what ``start`` says.
        """
        self.response: dict[str, Any] | None = None
        self.output_items: list[dict[str, Any]] = []
        self._id = response_id
        self._envelope = envelope
        self._include_outputs = include_outputs
        self._include_logprobs = include_logprobs
        self._include_reasoning = include_reasoning
        self._seal = seal
        self._clients = clients or ClientTools()
        self._turn = 0
        #: The turn of the last item that is no reasoning: what the same one thinks behind that is late.
        self._spoken_turn = -1
        self._annotations: list[Any] = []
        self._extras: dict[str, Any] = {}
        #: What the model's answers tell beside their deltas, such as citations.
        self._beside: dict[str, Any] = {}
        self._carry_events = carry_events
        self._container_id = container_id
        self._files: dict[str, str] = {}
        self._sequence = 0
        self._open: CodeItem | MessageItem | ReasoningItem | None = None
        self._blank = ""
        self._blank_logprobs: list[Logprob] = []
        self._held: list[Event] = []
        self._eager: list[Any] = []
        self._emitted: list[Emitted] = []

    def __repr__(self) -> str:
        state = "over" if self.response else type(self._open).__name__
        return f"ResponseStream({self._id}, {state}, items={len(self.output_items)}, held={len(self._held)})"

    def know_file(self, path: str, file_id: str) -> None:
        """Code has written a file: links to it in later text are annotated."""
        self._files[path] = file_id

    def feed(self, event: Event) -> list[Emitted]:
        if self.response is not None:
            return []
        if self._carry_events and isinstance(event, CARRIED):
            self._eager.append(msgspec.to_builtins(event))
        match event:
            case DeltaExtra(choice=choice, answer=answer) if choice or answer:
                self._beside |= {**(choice or {}), **(answer or {})}
            case Start():
                self._start(event)
            case Error(error=error):
                self._fail(error)
            case Done():
                self._finish(event)
            case _:
                self._accept(event)
        if self._eager and isinstance(self._open, CodeItem):
            self._emit([self._open.carrier()])
        return self._take()

    def fail(self, error: ErrorBody) -> list[Emitted]:
        """The request failed outside of the pipeline."""
        if self.response is None:
            self._fail(error)
        return self._take()

    def flush(self) -> list[Emitted]:
        """The events are over. Without ``done`` before, that is a failure."""
        return self.fail(ErrorBody("The answer ended too early.", "server_error", code="internal_error"))

    def _take(self) -> list[Emitted]:
        emitted, self._emitted = self._emitted, []
        return emitted

    def _accept(self, event: Event) -> None:
        """An event of the output: for the open item, for one that may begin now, or for later."""
        if isinstance(self._open, CodeItem):
            self._accept_in_code(self._open, event)
            return
        match event:
            case Token(channel="content" | "refusal"):
                self._turn = event.turn
                self._say(event)
            case Token(channel="reasoning", turn=turn, text=text, key=key):
                item_of_thoughts = self._thinking(turn)
                self._emit(item_of_thoughts.write(text, key or "reasoning_content"))
            case DeltaExtra(turn=turn, fields=fields):
                self._add_extras(turn, fields)
            case CodeStart(call_id=call_id):
                self._turn = self._spoken_turn = event.turn
                self._close_message()
                item = CodeItem(self._new_id("ci"), call_id, self._container_id or "")
                self._open = item
                self._emit(item.open())
            case ToolCall():
                self._spoken_turn = self._turn
                self._close_message()
                drafts, call = self._clients.call_item(self._own_id(), event)
                self._emit(drafts)
                self._finish_item(call)

    def _accept_in_code(self, item: CodeItem, event: Event) -> None:
        match event:
            case Token(channel="code", call_id=item.call_id, text=text):
                self._emit(item.write(text))
            case ExecOutput(call_id=item.call_id) | ExecResult(call_id=item.call_id) | ExecError(call_id=item.call_id):
                item.outputs.add(event)
            case CodeEnd(call_id=item.call_id):
                item.outputs.add(event)
                self._close_code(item, code_status(event))
            case TurnEnd():
                self._emit(item.end_code())
                self._held.append(event)  # it ends the code of later items too
            case ChunkDetected() | ExecStart() | ExecEnd():
                pass
            case Interrupt() | Rollback() | SessionLost():
                pass
            case _:
                self._held.append(event)

    def _say(self, token: Token) -> None:
        """Text of a message; blanks at its beginning wait for something visible."""
        refusal = token.channel == "refusal"
        if isinstance(self._open, MessageItem) and self._open.refusal != refusal:
            self._close_message()
        text = token.text
        logprobs = text_logprobs(token.logprobs) if self._include_logprobs else []
        if not isinstance(self._open, MessageItem):
            text, logprobs = self._blank + text, [*self._blank_logprobs, *logprobs]
            if not text.strip():
                self._blank, self._blank_logprobs = text, logprobs
                return
            self._open_message(refusal=refusal)
        if text:
            assert isinstance(self._open, MessageItem)
            self._emit(self._open.write(text, logprobs))

    def _open_message(self, *, refusal: bool = False) -> None:
        self._close_message()
        self._spoken_turn = self._turn
        self._open = MessageItem(self._new_id("msg"), refusal=refusal)
        self._emit(self._open.open())

    def _thinking(self, turn: int) -> ReasoningItem:
        """The reasoning item of this turn, which is open then."""
        if not isinstance(self._open, ReasoningItem) or turn != self._turn:
            self._close_message()
            self._open = ReasoningItem(self._new_id("rs"))
            if turn == self._spoken_turn:
                self._open.fields["late"] = True
            self._emit(self._open.open())
        self._turn = turn
        return self._open

    def _add_extras(self, turn: int, fields: Mapping[str, Any]) -> None:
        """What a message cannot hold here is an item of its own; the rest waits for the end of a message."""
        others = {
            name: value for name, value in fields.items() if name not in ("reasoning_details", "images", "annotations")
        }
        merge_fields(self._extras, others)
        if isinstance(annotations := fields.get("annotations"), list):
            self._annotations += map(flat_annotation, annotations)
        if isinstance(details := fields.get("reasoning_details"), list):
            merge_fields(self._thinking(turn).fields, {"reasoning_details": details})
        for image in fields.get("images") or ():
            self._turn = self._spoken_turn = turn
            self._close_message()
            if (made := image_item(self._new_id("ig"), image)) is not None:
                self._emit(made[0])
                self._finish_item(made[1])
            else:
                merge_fields(self._extras, {"images": [image]})

    def _close_code(self, item: CodeItem, status: DoneStatus) -> None:
        self._emit(item.close())
        self._finish_item(item.done(status))
        held, self._held = self._held, []
        for event in held:
            self._accept(event)

    def _close_message(self, status: MessageStatus = "completed") -> None:
        """A message, or what was thought before it."""
        self._blank, self._blank_logprobs = "", []
        match self._open:
            case ReasoningItem() as thoughts:
                self._emit(thoughts.close())
                details = thoughts.fields.get("reasoning_details")
                joined = {"reasoning_details": join_details(details)} if details else {}
                self._finish_item(thoughts.done(status, self._seal({**thoughts.fields, **joined})))
            case MessageItem() as message:
                text = "" if message.refusal else message.text
                annotations = cite(text, self._files, container_id=self._container_id or "") + self._annotations
                self._emit(message.close(annotations))
                self._finish_item({**self._extras, **message.done(status, annotations)})
                self._annotations, self._extras = [], {}

    def _close_all(self, status: DoneStatus) -> None:
        """Whatever is open or held back is over: what was received of it is shown. A message cannot have failed."""
        while isinstance(self._open, CodeItem):
            self._close_code(self._open, status)
        if (self._extras or self._annotations) and not isinstance(self._open, MessageItem):
            self._open_message()
        self._close_message("incomplete" if status == "failed" else status)

    def _finish_item(self, item: dict[str, Any]) -> None:
        self._emit([("response.output_item.done", {"item": self._shown(item)})])
        self.output_items.append(item)
        self._open = None

    def _start(self, start: Start) -> None:
        self._container_id = self._container_id or start.container_id
        self._begin()

    def _begin(self) -> None:
        self._emit_response("response.created", "in_progress")
        self._emit_response("response.in_progress", "in_progress")

    def _finish(self, done: Done) -> None:
        reason = INCOMPLETE.get(done.finish_reason)
        self._close_all("incomplete" if reason else "completed")
        self._eager.append(
            msgspec.to_builtins(
                {"type": "summary", "seq": done.seq, "t_ms": done.t_ms, "timing": done.timing, "usage": done.usage}
            )
        )
        status = "incomplete" if reason else "completed"
        details = {"reason": reason} if reason else None
        usage = response_usage(done.usage)
        self.response = self._emit_response(f"response.{status}", status, incomplete_details=details, usage=usage)

    def _fail(self, error: ErrorBody) -> None:
        """What OpenAI sends: most SDKs overlook ``response.failed`` alone, or an ``error`` that is not nested."""
        if self._sequence == 0:
            self._begin()
        self._close_all("failed")
        self._emit_event("error", {"error": msgspec.to_builtins(error)})
        told = {"code": "server_error", "message": error.message}
        self.response = self._emit_response("response.failed", "failed", error=told)

    def _emit_response(self, type: str, status: str, **fields: Any) -> dict[str, Any]:
        output = [self._shown(item) for item in self.output_items]
        response = {**self._beside, **self._envelope, "id": self._id, "status": status, "output": output, **fields}
        if isinstance(tier := self._beside.get("service_tier"), str):
            response["service_tier"] = tier
        self._emit_event(type, {"response": response})
        return response

    def _emit(self, drafts: Iterable[Draft]) -> None:
        """Events of an item: the open one, or that which is made at once."""
        for type, fields in drafts:
            self._emit_event(type, {"output_index": len(self.output_items), **fields})

    def _emit_event(self, type: str, fields: dict[str, Any]) -> None:
        data = {"type": type, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        if self._eager and type != "response.created":
            data["eager"], self._eager = self._eager, []
        self._emitted.append((type, data))

    def _shown(self, item: dict[str, Any]) -> dict[str, Any]:
        return shown(item, outputs=self._include_outputs, reasoning=self._include_reasoning)

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}_{self._own_id()}"

    def _own_id(self) -> str:
        """Of the next item, behind the prefix of its kind."""
        return f"{self._id.removeprefix('resp_')}_{len(self.output_items)}"


def response_id_of(item_id: str) -> str | None:
    """The response that an item came from, by its id; None if the id is not one of ours."""
    prefix, _, rest = item_id.partition("_")
    name, _, number = rest.rpartition("_")
    return f"resp_{name}" if prefix in _PREFIXES and name and number.isdecimal() else None
