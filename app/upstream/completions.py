"""Where the model's answers come from: a server (``client.py``), or an app that pushes its own
(``api/eager/push.py``)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Completions(Protocol):
    def stream(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[str]]]:
        """Start a completion: inside, the data of its events, as they come; leaving it stops generation."""
        ...
