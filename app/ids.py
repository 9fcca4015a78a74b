"""Ids: those we make, and those that clients send."""

from __future__ import annotations

import re
import secrets
from typing import Final, TypeGuard

_ID: Final = re.compile(r"[!-~]{1,128}")


def new_id(prefix: str) -> str:
    """An unguessable id."""
    return f"{prefix}_{secrets.token_hex(12)}"


def is_id(value: object) -> TypeGuard[str]:
    """Whether this may be the id of something, and can be looked up in any database."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None
