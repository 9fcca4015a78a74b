"""Where sessions live, where several gateways serve one deployment. The registry asks; ``app/instance.py`` knows."""

from __future__ import annotations

from typing import Protocol


class Directory(Protocol):
    async def claim(self, id: str, *, owner: str, idle_s: float) -> None:
        """A session of this id is to live here.

        Raises:
            SessionElsewhere: it lives in another gateway.
            StorageError: nobody can say.
        """
        ...

    def release(self, id: str) -> None:
        """It has ended. Others hear of it soon."""
        ...

    async def require_nowhere(self, id: str, *, owner: str) -> None:
        """
        Raises:
            SessionElsewhere: a session that is not here lives in another gateway.
            StorageError: nobody can say.
        """
        ...


class OnlyHere:
    """A ``Directory`` without other gateways."""

    async def claim(self, id: str, *, owner: str, idle_s: float) -> None:
        """It is ours."""

    def release(self, id: str) -> None:
        """Nobody needs to hear of it."""

    async def require_nowhere(self, id: str, *, owner: str) -> None:
        """There is nowhere else."""
