"""``encrypted_content``: what a model has thought, in the upstream's own form, for a client to bring back.

Its client may see it (the summary says the same in other words), but nobody may write it: an upstream takes it for its
own. So it is signed, and not encrypted. What another deployment, another key's owner or anybody else has written is
ignored, as if it had not been sent: histories move between providers.

    eager1.BASE64URL(HMAC-SHA256 of owner and payload | payload), the payload being JSON, compressed
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import zlib
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

_PREFIX = "eager1."
_MAC_BYTES = 32
#: The same text again and again compresses to nothing; ours is as long as an answer may be.
_MAX_BYTES = 64 * 1024 * 1024


class ReasoningSeal:
    """Signs and reads with the ``key`` of the deployment."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.sha256(b"reasoning\0" + key).digest()

    def __repr__(self) -> str:
        return "<ReasoningSeal>"

    def seal(self, fields: Mapping[str, Any], *, owner: str) -> str:
        """``fields`` as text that only ``opened`` makes sense of."""
        payload = zlib.compress(json.dumps(fields, separators=(",", ":")).encode(), 1)
        return _PREFIX + base64.urlsafe_b64encode(self._mac(payload, owner) + payload).decode()

    def opened(self, sealed: object, *, owner: str) -> dict[str, Any] | None:
        """What was sealed for this owner; None for anything else."""
        if not isinstance(sealed, str) or not sealed.startswith(_PREFIX):
            return None
        try:
            data = base64.b64decode(sealed[len(_PREFIX) :], altchars=b"-_", validate=True)
        except ValueError:
            data = b""
        payload = data[_MAC_BYTES:]
        if not hmac.compare_digest(data[:_MAC_BYTES], self._mac(payload, owner)):
            log.info("reasoning that was not signed here, or not for this owner, is ignored")
            return None
        fields = json.loads(zlib.decompressobj().decompress(payload, _MAX_BYTES))
        assert isinstance(fields, dict)
        return fields

    def _mac(self, payload: bytes, owner: str) -> bytes:
        return hmac.digest(
            self._key, hashlib.sha256(owner.encode("utf-8", "surrogatepass")).digest() + payload, "sha256"
        )
