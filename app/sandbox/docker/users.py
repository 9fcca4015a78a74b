"""A uid of its own for each container of an engine (pure).

The kernel counts much per user, not per container: inotify instances, pipe memory, keys, pending signals. Containers of
one uid share these quotas, so that one of them can use up what another needs.
"""

from __future__ import annotations

import secrets
from typing import Final

#: The image's own user, for when no uid is left.
SHARED_UID: Final = 65532
#: Above the users of a host and the uids of embedded sandboxes. The image has names for these, and for those below.
HOST_UIDS: Final = range(300_000, 300_512)
#: For an engine in a user namespace (rootless, or with userns-remap), which maps the first 65,536 uids by default, to
#: uids of the host that nobody else has.
MAPPED_UIDS: Final = range(64_000, 64_512)


class Users:
    """Gives out the lowest free uid at or after ``first``, in a circle: two gateways that share an engine, and do not
    know of each other, start at different places and so rarely meet. If they do, two containers share a quota."""

    def __init__(self, uids: range, first: int | None = None) -> None:
        offset = secrets.randbelow(len(uids)) if first is None else uids.index(first)
        self._order = [*uids[offset:], *uids[:offset]]
        self._taken: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Users from {self._order[0]}: {len(self._taken)} taken>"

    def take(self, name: str) -> int:
        """A uid for the container ``name`` until ``release``; ``SHARED_UID`` if none is left."""
        taken = set(self._taken.values())
        uid = next((uid for uid in self._order if uid not in taken), SHARED_UID)
        self._taken[name] = uid
        return uid

    def __getitem__(self, name: str) -> int:
        """The one that ``name`` has."""
        return self._taken[name]

    def release(self, name: str) -> None:
        """Names that were never seen are left alone."""
        self._taken.pop(name, None)


def uids_of(security_options: list[str]) -> range:
    """Those an engine can give to containers, by ``SecurityOptions`` of its ``GET /info``."""
    names = {option.split(",")[0] for option in security_options}
    return MAPPED_UIDS if names & {"name=userns", "name=rootless"} else HOST_UIDS
