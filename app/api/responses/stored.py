"""``/v1/responses/{id}``: answers that were stored (PROTOCOL.md 4.2).

Uses ``app.state.store`` (``store.database.Store``) and ``app.state.keyring`` (``auth.Keyring``).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from app.api.edge.auth import AuthenticatedCaller, Caller
from app.api.listing import list_object, page_query
from app.api.responses.outputs import shown
from app.api.responses.request import INCLUDE_OUTPUTS, INCLUDE_REASONING
from app.errors import RequestError
from app.store.database import Store
from app.store.paging import PageRequest
from app.store.responses import StoredResponse

router = APIRouter(prefix="/v1/responses")
Include = Annotated[list[str], Query(max_length=16)]
IncludeInBrackets = Annotated[list[str], Query(max_length=16, alias="include[]")]  # as OpenAI's SDKs write lists


async def find_response(store: Store, caller: Caller, response_id: str) -> StoredResponse:
    """
    Raises:
        RequestError: 404, the caller has no such response.
    """
    stored = await store.responses.get(response_id, owner=caller.name)
    if stored is None:
        raise _not_found(response_id)
    return stored


@router.get("/{response_id}")
async def get_response(
    request: Request,
    caller: AuthenticatedCaller,
    response_id: str,
    include: Include = [],  # noqa: B006
    include_in_brackets: IncludeInBrackets = [],  # noqa: B006
    stream: bool = False,
) -> dict[str, Any]:
    """The response, as it was answered; with the outputs of its code if they are asked for.

    Raises:
        RequestError: 404, there is none; 400, its events are asked for, which are not kept.
    """
    stored = await find_response(request.app.state.store, caller, response_id)
    if stream:
        raise RequestError(
            "Events are not kept: a response can be streamed only while it is made.",
            param="stream",
            code="unsupported_parameter",
        )
    asked = (*include, *include_in_brackets)
    if INCLUDE_OUTPUTS not in asked and INCLUDE_REASONING not in asked:
        return stored.response
    outputs, reasoning = INCLUDE_OUTPUTS in asked, INCLUDE_REASONING in asked
    return {**stored.response, "output": [shown(i, outputs=outputs, reasoning=reasoning) for i in stored.output_items]}


@router.delete("/{response_id}")
async def delete_response(request: Request, caller: AuthenticatedCaller, response_id: str) -> dict[str, Any]:
    """It cannot be retrieved or continued any more. What later responses stand on is kept until they are deleted."""
    store: Store = request.app.state.store
    if not await store.responses.delete(response_id, owner=caller.name):
        raise _not_found(response_id)
    return {"id": response_id, "object": "response", "deleted": True}


@router.get("/{response_id}/input_items")
async def list_input_items(
    request: Request,
    caller: AuthenticatedCaller,
    response_id: str,
    page: Annotated[PageRequest, Depends(page_query)],
) -> dict[str, Any]:
    """What this response was given."""
    stored = await find_response(request.app.state.store, caller, response_id)
    items, more = _page([_listed(stored, position) for position in range(len(stored.input_items))], page)
    return list_object(items, has_more=more)


def _listed(stored: StoredResponse, position: int) -> dict[str, Any]:
    """Every item of a list has an id and a type, and a message its parts; what clients send need not."""
    id = f"item_{stored.id.removeprefix('resp_')}_{position}"
    given = {name: value for name, value in stored.input_items[position].items() if value is not None}
    item = {"type": "message", "id": id, **given}
    if isinstance(text := item.get("content"), str):
        assistant = item.get("role") == "assistant"
        part = {"type": "output_text", "annotations": []} if assistant else {"type": "input_text"}
        item["content"] = [{**part, "text": text}]
    return item


def _page(items: list[dict[str, Any]], page: PageRequest) -> tuple[list[dict[str, Any]], bool]:
    if page.order == "desc":
        items = items[::-1]
    if page.after is not None:
        position = next((at for at, item in enumerate(items) if item["id"] == page.after), None)
        if position is None:
            raise RequestError(f"No item with id '{page.after}' to continue after.", param="after")
        items = items[position + 1 :]
    return items[: page.limit], len(items) > page.limit


def _not_found(response_id: str) -> RequestError:
    return RequestError(
        f"Response with id '{response_id}' not found.", param="id", code="response_not_found", status=404
    )
