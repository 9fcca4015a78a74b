"""One answer of ``/v1/responses`` on its way: our events in; files noted, the end stored, OpenAI's events out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from app.api.edge.errors import to_exception
from app.api.responses.events import Emitted, ResponseStream
from app.api.responses.place import ContainerPlace
from app.api.responses.request import envelope, includes_logprobs, includes_outputs, includes_reasoning
from app.api.responses.schemas import ResponsesRequest
from app.api.responses.sealed_reasoning import ReasoningSeal
from app.api.responses.tools import Tools
from app.errors import SandboxError
from app.events import CodeEnd, Error, Event, Start
from app.pipeline.emitter import SendEvent
from app.store.database import Store
from app.store.item_parts import Item

_encode = msgspec.json.Encoder().encode


class Answer:
    """The ``Wire`` of a streamed answer, and what makes the document of one that is not.

    ``own_items`` and ``place`` are set before the first event: what this response was given, and where its code
    runs (None if no code can run).
    """

    def __init__(
        self,
        id: str,
        request: ResponsesRequest,
        *,
        owner: str,
        store: Store,
        tools: Tools,
        seal: ReasoningSeal,
        carry_events: bool,
        created_at: float,
    ) -> None:
        self.id = id
        self.own_items: Sequence[Item] = ()
        self.place: ContainerPlace | None = None
        self._request = request
        self._owner = owner
        self._store = store
        self._stream = ResponseStream(
            id,
            envelope=envelope(request, warnings=tools.warnings, created_at=created_at),
            include_outputs=includes_outputs(request),
            include_logprobs=includes_logprobs(request),
            include_reasoning=includes_reasoning(request),
            seal=partial(seal.seal, owner=owner),
            clients=tools.clients,
            carry_events=carry_events,
        )
        self._emitted: list[Emitted] = []

    def __repr__(self) -> str:
        return f"<Answer {self._stream!r}>"

    async def relay(self, event: Event, send: SendEvent) -> None:
        """Take an event of the pipeline. The answer is stored before the client learns that it is over: it may refer
        to it at once. One that failed without any output is stored after that: where nothing was streamed yet, the
        failure is an HTTP error, and nobody has its id.

        Raises:
            EagerError: the request failed, and nothing was streamed yet that could say so.
        """
        if self._may_have_new_files(event):
            await self._note_files()
        elif isinstance(event, Error) and not self._request.stream:
            raise to_exception(event)
        emitted = self._stream.feed(event)
        response = self._stream.response if emitted else None
        if self._request.stream:
            self._emitted += emitted
        unseen = isinstance(event, Error) and not self._stream.output_items
        if response is not None and not unseen:
            await self._keep(response)
        await send(event)
        if response is not None and unseen:
            await self._keep(response)

    def encode(self, event: Event) -> bytes:
        """What ``relay`` made of the event; of an error of our own, which it did not see, the end."""
        if isinstance(event, Error):
            self._emitted += self._stream.fail(event.error)
        emitted, self._emitted = self._emitted, []
        return _frames(emitted)

    def close(self) -> bytes:
        return _frames(self._stream.flush())

    def document(self, _: list[Event]) -> bytes:
        """The whole answer, for a client that did not ask for a stream."""
        assert self._stream.response is not None
        return _encode(self._stream.response)

    def _may_have_new_files(self, event: Event) -> bool:
        container = self.place.opened if self.place is not None else None
        if isinstance(event, Start):
            return container is not None and not container.fresh
        return container is not None and isinstance(event, CodeEnd) and event.files != []

    async def _note_files(self) -> None:
        """Later text may link to them. No code runs at this moment: a piece of it has just ended."""
        assert self.place is not None
        assert self.place.opened is not None
        try:
            records = await self.place.opened.list()
        except SandboxError:  # the sandbox is gone, which the pipeline tells
            return
        for record in records:
            self._stream.know_file(record.path, record.id)

    async def _keep(self, response: dict[str, Any]) -> None:
        request = self._request
        if request.store is False:
            return
        await self._store.responses.add(
            self.id,
            owner=self._owner,
            model=request.model[:255],
            previous_response_id=request.previous_response_id,
            container_id=self.place.name if self.place is not None and self.place.opened is not None else None,
            input_items=self.own_items,
            output_items=self._stream.output_items,
            response=response,
        )


def _frames(emitted: Iterable[Emitted]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (type.encode(), _encode(data)) for type, data in emitted)
