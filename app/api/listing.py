"""The shape of OpenAI's lists, and the query that asks for a part of one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

from app.store.paging import PageRequest, SortOrder


def page_query(
    limit: Annotated[int, Query(ge=1, le=100, description="Most items of one page.")] = 20,
    order: Annotated[SortOrder, Query(description="By time of creation.")] = "desc",
    after: Annotated[str | None, Query(max_length=128, description="Id of the last item of the page before.")] = None,
) -> PageRequest:
    """FastAPI dependency."""
    return PageRequest(limit, order, after)


def list_object(items: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }
