"""Links to files that the code wrote: ``sandbox:/mnt/data/NAME`` in the model's text becomes an annotation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

SCHEME = "sandbox:"
FOLDER = "/mnt/data/"


def cite(text: str, files: Mapping[str, str], *, container_id: str) -> list[dict[str, Any]]:
    """Annotations for the links in ``text``, in order. ``files`` has the id of each known file under its path.

    A range covers the URL, without the link's parentheses.
    """
    spellings = {spelling: path for path in files for spelling in (path, quote(path))}
    longest_first = sorted(spellings, key=len, reverse=True)
    found = []
    start = text.find(SCHEME + FOLDER)
    while start >= 0:
        at = start + len(SCHEME)
        spelling = next((name for name in longest_first if _is_at(text, at, name)), None)
        end = at + len(spelling or FOLDER)
        if spelling is not None:
            path = spellings[spelling]
            found.append(
                {
                    "type": "container_file_citation",
                    "container_id": container_id,
                    "file_id": files[path],
                    "filename": path.rpartition("/")[2],
                    "start_index": start,
                    "end_index": end,
                }
            )
        start = text.find(SCHEME + FOLDER, end)
    return found


def _is_at(text: str, at: int, name: str) -> bool:
    """Whether ``name`` stands there in full: ``a.csv`` does not in ``a.csv.gz``, but does in ``a.csv.`` at the end of a
    sentence."""
    if not text.startswith(name, at):
        return False
    following = text[at + len(name) : at + len(name) + 2]
    if following[:1] == ".":
        following = following[1:]
    return not (following[:1].isalnum() or following[:1] in ("_", "-", "/", "%"))
