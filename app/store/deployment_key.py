"""The key of a deployment: what it signs for clients to bring back."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

_FILE = "secret.key"
_BYTES = 32


def deployment_key(given: str | None, data_dir: Path) -> bytes:
    """The key of the setting, or else one that is made once and kept in the data folder. Gateways that are to read what
    another one has signed share either."""
    if given is not None:
        return hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest()
    path = data_dir / _FILE
    if not path.exists():
        _make(path)
    return path.read_bytes()


def _make(path: Path) -> None:
    """All of it at once, and not in the place of one that another process has made meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
