"""Those who try one key after the other.

Beyond so many wrong keys a minute, an address is answered 429 whatever it sends: a right guess is not told from a wrong
one. Keys that were used from there before go on, since several clients may have one address. IPv6 addresses count by
their /64, which is what one line has.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import TypeVar

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from starlette.types import Scope

from app.errors import TooManyRequests

Kept = TypeVar("Kept")

#: As many as anybody mistypes.
PER_MINUTE = 20
#: (address, caller) that are remembered.
_TRUSTED = 10_000


class WrongKeys:
    """Counts wrong keys by address."""

    def __init__(self, per_minute: int = PER_MINUTE) -> None:
        self._rate = RateLimitItemPerMinute(per_minute)
        self._window = MovingWindowRateLimiter(MemoryStorage())
        self._suspects: OrderedDict[str, None] = OrderedDict()
        self._trusted: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<WrongKeys {len(self._suspects)} suspects>"

    async def note(self, address: str) -> None:
        """One came from there.

        Raises:
            TooManyRequests: it was one too many.
        """
        _remember(self._suspects, address)
        if not await self._window.hit(self._rate, address):
            raise await self._refusal(address)

    async def require_trusted(self, address: str, caller: str) -> None:
        """A right one came from there.

        Raises:
            TooManyRequests: after too many wrong ones, and for the first time.
        """
        suspect = address in self._suspects and (address, caller) not in self._trusted
        if suspect and not await self._window.test(self._rate, address):
            raise await self._refusal(address)
        _remember(self._trusted, (address, caller))

    async def _refusal(self, address: str) -> TooManyRequests:
        oldest_leaves_at, _ = await self._window.get_window_stats(self._rate, address)
        return TooManyRequests("Too many wrong API keys.", retry_after_s=oldest_leaves_at - time.time())


def address_of(scope: Scope) -> str:
    """Where a request comes from, as wrong keys are counted."""
    client = scope.get("client")
    try:
        address = ip_address(client[0]) if client else None
    except ValueError:  # a socket of this machine
        address = None
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or address.exploded[:19])
    return str(address)


def _remember(kept: OrderedDict[Kept, None], item: Kept) -> None:
    kept[item] = None
    kept.move_to_end(item)
    if len(kept) > _TRUSTED:
        kept.popitem(last=False)
