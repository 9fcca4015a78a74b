"""What of the upstream is passed on without being read: bodies of requests, and answers as they come."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import aiohttp

#: Content types that a client may be told: no page of a browser is among them.
_PASSED_ON = re.compile(
    r"(?:application/(?:json|x-ndjson|octet-stream)|text/(?:plain|event-stream|vtt|srt)|audio/[\w.+-]{1,64}"
    r"|image/(?:png|jpeg|webp|gif)|application/x-subrip)(?:; ?charset=[\w-]{1,32})?",
    re.ASCII | re.IGNORECASE,
)
_BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class FormPart:
    """A field of a form, or a file that is read when it is sent."""

    name: str
    value: str | BinaryIO
    filename: str | None = None
    content_type: str | None = None


#: A JSON object, or a form.
Payload = Mapping[str, Any] | Sequence[FormPart]


@dataclass(frozen=True, slots=True)
class RelayedAnswer:
    content_type: str
    pieces: AsyncIterator[bytes]


def encoded_form(parts: Sequence[FormPart]) -> aiohttp.FormData:
    """
    Raises:
        ValueError: a name or content type cannot be sent.
    """
    form = aiohttp.FormData(default_to_multipart=True)
    for part in parts:
        if isinstance(part.value, str):
            form.add_field(part.name, part.value)
        else:
            part.value.seek(0)
            form.add_field(part.name, part.value, filename=part.filename, content_type=part.content_type or _BYTES)
    return form


def content_type_of(told: str | None) -> str:
    """What a client is told of an answer: the upstream's word, or that it is bytes."""
    return told if told is not None and _PASSED_ON.fullmatch(told) else _BYTES
