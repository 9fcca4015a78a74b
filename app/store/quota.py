"""How many bytes each owner may keep: uploaded files, files and figures behind links, items of stored responses.

All owners together have a limit, of which each has a share (``app/shares.py``); an owner may have a limit of its own
besides. What is kept is summed up by the database, now and then and before anybody is refused; in between what is added
here is added up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import func, select

from app.errors import OverQuota
from app.shares import Fraction, Shares, undivided
from app.store.connections import Connections
from app.store.tables import files, response_items, responses, shared

#: A sum older than this is made anew: other gateways, and deletions, are in none that is kept here.
_FRESH_S: Final = 60.0


class Quota:
    """
    Args:
        limit_bytes: of all owners; None is no limit.
        own_limit: bytes of one owner, None if it has no limit of its own.
    """

    def __init__(
        self,
        *,
        limit_bytes: int | None = None,
        fraction: Fraction = undivided,
        own_limit: Callable[[str], int | None] = lambda owner: None,
    ) -> None:
        self._shares = None if limit_bytes is None else Shares(limit_bytes, fraction=fraction)
        self._own_limit = own_limit
        self._kept: dict[str, int] = {}
        self._summed_at: float | None = None
        self._summing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Quota {sum(self._kept.values())} bytes of {len(self._kept)} owners>"

    async def require(self, connections: Connections, owner: str, size: int) -> None:
        """Count ``size`` bytes more.

        Raises:
            OverQuota: the owner may not keep so many.
        """
        if self._shares is None and self._own_limit(owner) is None:
            return
        clock = asyncio.get_running_loop().time
        async with self._summing:
            if self._summed_at is None or clock() - self._summed_at > _FRESH_S or not self._fits(owner, size):
                self._kept = await _sums(connections)
                self._summed_at = clock()
            if not self._fits(owner, size):
                kept = self._kept.get(owner, 0)
                raise OverQuota(f"{kept} bytes are kept for you, and {size} more are too many. Delete what can go.")
            self._kept[owner] = self._kept.get(owner, 0) + size

    def _fits(self, owner: str, size: int) -> bool:
        kept, own = self._kept.get(owner, 0), self._own_limit(owner)
        if own is not None and kept + size > own:
            return False
        return self._shares is None or self._shares.may_take(owner, size, total=sum(self._kept.values()), used=kept)


async def _sums(connections: Connections) -> dict[str, int]:
    items = responses.join(response_items, responses.c.id == response_items.c.response_id)
    queries = (
        select(files.c.owner, func.sum(files.c.bytes)).group_by(files.c.owner),
        select(shared.c.owner, func.sum(shared.c.bytes)).group_by(shared.c.owner),
        select(responses.c.owner, func.sum(response_items.c.size)).select_from(items).group_by(responses.c.owner),
    )
    kept: dict[str, int] = {}
    async with connections.connect() as connection:
        for query in queries:
            rows: Any = await connection.execute(query)
            for owner, size in rows:
                kept[owner] = kept.get(owner, 0) + int(size)
    return kept
