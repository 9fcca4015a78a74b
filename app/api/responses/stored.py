"""``/v1/responses/{id}``: answers that were stored (PROTOCOL.md 4.2)."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from app.api.edge.auth import AuthenticatedCaller, Caller
from app.api.listing import list_object, page_query
from app.api.responses.outputs import shown
from app.api.responses.request import INCLUDE_OUTPUTS, INCLUDE_REASONING
from app.api.services import InjectedServices
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
    caller: AuthenticatedCaller,
    services: InjectedServices,
    response_id: str,
    include: Include = [],  # noqa: B006
    include_in_brackets: IncludeInBrackets = [],  # noqa: B006
    stream: bool = False,
) -> Response:
    """The response, as it was answered; with the outputs of its code if they are asked for.

    Raises:
        RequestError: 404, there is none; 400, its events are asked for, which are not kept.
    """
    store = services.store
    stored = await find_response(store, caller, response_id)
    if stream:
        raise RequestError(
            "Events are not kept: a response can be streamed only while it is made.",
            param="stream",
            code="unsupported_parameter",
        )
    asked = (*include, *include_in_brackets)
    if INCLUDE_OUTPUTS not in asked and INCLUDE_REASONING not in asked:
        return _json(stored.document)
    outputs, reasoning = INCLUDE_OUTPUTS in asked, INCLUDE_REASONING in asked
    items = await store.responses.output_items([response_id], owner=caller.name)
    output = [shown(item, outputs=outputs, reasoning=reasoning) for item in items]
    fields = msgspec.json.decode(stored.document, type=dict[str, msgspec.Raw])  # which are passed on as they are
    return _json(msgspec.json.encode({**fields, "output": output}))


@router.delete("/{response_id}")
async def delete_response(caller: AuthenticatedCaller, services: InjectedServices, response_id: str) -> dict[str, Any]:
    """It cannot be retrieved or continued any more. What later responses stand on is kept until they are deleted."""
    if not await services.store.responses.delete(response_id, owner=caller.name):
        raise _not_found(response_id)
    return {"id": response_id, "object": "response", "deleted": True}


@router.get("/{response_id}/input_items")
async def list_input_items(
    caller: AuthenticatedCaller,
    services: InjectedServices,
    response_id: str,
    page: Annotated[PageRequest, Depends(page_query)],
) -> dict[str, Any]:
    """What this response was given."""
    store = services.store
    if not await store.responses.exists(response_id, owner=caller.name):
        raise _not_found(response_id)
    prefix = f"item_{response_id.removeprefix('resp_')}_"
    ours = re.fullmatch(f"{re.escape(prefix)}([0-9]{{1,9}})", page.after or "")
    found, more = await store.responses.input_items(response_id, page, after=int(ours[1]) if ours else page.after)
    return list_object([_listed(item, f"{prefix}{position}") for position, item in found], has_more=more)


def _listed(given: dict[str, Any], id: str) -> dict[str, Any]:
    """Every item of a list has an id and a type, and a message its parts; what clients send need not."""
    given = {name: value for name, value in given.items() if value is not None}
    item = {"type": "message", "id": id, **given}
    if isinstance(text := item.get("content"), str):
        assistant = item.get("role") == "assistant"
        part = {"type": "output_text", "annotations": []} if assistant else {"type": "input_text"}
        item["content"] = [{**part, "text": text}]
    return item


def _json(document: str | bytes) -> Response:
    return Response(document, media_type="application/json")


def _not_found(response_id: str) -> RequestError:
    return RequestError(
        f"Response with id '{response_id}' not found.", param="id", code="response_not_found", status=404
    )
