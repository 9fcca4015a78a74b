"""What a response is the answer to: stored turns before it, and its own input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.api.responses.request import input_items, referenced_responses, replayed_container, resolve_references
from app.api.responses.schemas import Item, ResponsesRequest
from app.errors import RequestError
from app.ids import is_id
from app.store.database import Store
from app.store.responses import StoredResponse


@dataclass(frozen=True, slots=True)
class History:
    """
    Attributes:
        own: items of this response, references resolved.
        items: all of the conversation.
        container_id: that in which its code ran last.
    """

    own: Sequence[Item]
    items: Sequence[Item]
    container_id: str | None


async def load_history(request: ResponsesRequest, store: Store, *, owner: str) -> History:
    """
    Raises:
        RequestError: an earlier response, or an item of one, is not there.
    """
    chain = await _chain(request.previous_response_id, store, owner)
    given = input_items(request)
    known = {str(item["id"]): item for stored in chain for item in stored.output_items}
    for response_id in referenced_responses(given):
        if is_id(response_id) and (stored := await store.responses.get(response_id, owner=owner)) is not None:
            known |= {str(item["id"]): item for item in stored.output_items}
    own = resolve_references(given, known)
    before = [item for stored in chain for item in (*stored.input_items, *stored.output_items)]
    chained = next((stored.container_id for stored in reversed(chain) if stored.container_id), None)
    return History(own, [*before, *own], chained or replayed_container(own))


async def _chain(id: str | None, store: Store, owner: str) -> list[StoredResponse]:
    if id is None:
        return []
    chain = await store.responses.chain(id, owner=owner) if is_id(id) else []
    if not chain:
        raise RequestError(
            f"Previous response with id '{id}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    return chain
