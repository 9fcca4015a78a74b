"""The end of every request: whatever goes wrong, the client must be told.

This is the one place of the API that catches everything.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable

from app.api.edge.errors import translate
from app.errors import EagerError

log = logging.getLogger(__name__)


async def failure_of(work: Awaitable[object]) -> EagerError | None:
    """Wait for ``work``; what it raises comes back as what the client is to be told. What nobody foresaw is logged."""
    try:
        await work
    except Exception as error:
        if not isinstance(error, EagerError):
            log.exception("request failed")
        return translate(error)
    return None
