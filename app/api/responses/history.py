"""What a response is the answer to: stored turns before it, and its own input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.api.responses.request import input_items, referenced_responses, replayed_container, resolve_references
from app.api.responses.schemas import ResponsesRequest
from app.api.schemas import MAX_MESSAGES
from app.errors import RequestError
from app.ids import is_id
from app.store.database import Store
from app.store.item_parts import Item
from app.store.responses import CHAIN_LIMIT, ChainedResponse

#: Stored responses whose items one request may refer to: as many as are followed back.
REFERENCES_LIMIT = CHAIN_LIMIT


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
        RequestError: an earlier response, or an item of one, is not there; or they are too large together.
    """
    chain = await _chain(request.previous_response_id, store, owner)
    given = input_items(request)
    known = {str(item["id"]): item for stored in chain for item in stored.output_items}
    referenced = [id for id in referenced_responses(given) if is_id(id)]
    if len(referenced) > REFERENCES_LIMIT:
        raise RequestError(f"Items of at most {REFERENCES_LIMIT} responses can be referred to.", param="input")
    if referenced:
        known |= {str(item["id"]): item for item in await store.responses.output_items(referenced, owner=owner)}
    own = resolve_references(given, known)
    before = [item for stored in chain for item in (*stored.input_items, *stored.output_items)]
    if len(before) + len(own) > MAX_MESSAGES:
        raise RequestError(
            f"The conversation has more than {MAX_MESSAGES} items.",
            param="previous_response_id",
            code="context_length_exceeded",
        )
    chained = next((stored.container_id for stored in reversed(chain) if stored.container_id), None)
    return History(own, [*before, *own], chained or replayed_container(own))


async def _chain(id: str | None, store: Store, owner: str) -> list[ChainedResponse]:
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
