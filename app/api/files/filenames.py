"""Names that clients give to files."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

MAX_BYTES = 200


def base_name(name: str) -> str:
    """A name that is safe as a single step of a path, on any file system: no folders (``/`` or ``\\``), no control or
    format characters, not hidden, not ``.`` or ``..``, and short enough. What is left of nothing is ``file``."""
    name = name.replace("\\", "/").rpartition("/")[2]
    name = "".join(character for character in name if unicodedata.category(character)[0] != "C")
    name = name.strip(" .")
    stem, dot, extension = name.rpartition(".")
    if dot and len(extension.encode()) <= 16:
        return _cut(stem, MAX_BYTES - len(extension.encode()) - 1) + dot + extension
    return _cut(name, MAX_BYTES) or "file"


def attachment(name: str) -> str:
    """A ``Content-Disposition`` that makes browsers save, and never show, what users uploaded (RFC 6266)."""
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


def _cut(text: str, max_bytes: int) -> str:
    return text.encode()[:max_bytes].decode(errors="ignore").rstrip(" .")
