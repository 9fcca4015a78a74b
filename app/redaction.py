"""What is taken out of words from upstreams and engines before a client or the log gets them."""

from __future__ import annotations

import base64
import re
from typing import Final
from urllib.parse import quote

#: What stands for a key in what is told.
HIDDEN: Final = "[key]"
#: Shorter keys (``EMPTY``, ``ollama``) are no secrets, but words of messages.
MIN_KEY_CHARS: Final = 8
ADDRESS: Final = "[address]"

_PUBLIC_URL = re.compile(
    r"https://(?:[a-z0-9-]+\.)+(?!(?:internal|intranet|local|lan|corp|home|svc|test)\b)[a-z]{2,}(?:[/?#]|[,;)]|\.?\Z)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"\b(?:https?|tcp|unix|ssh|npipe|wss?)://[^\s\"'<>)\]}]+"  # of a service
    r"|\[[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*\](?::\d{1,5})?"  # IPv6
    r"|(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.])"  # IPv4
    r"|(?<![\w.:-])[a-z](?:[a-z0-9._-]{0,252}):(?:80|443|\d{4,5})(?![\w:])",  # a host with a port
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class KeyHider:
    """Takes a key out of texts, in every spelling: as it is, with escapes of JSON, of URLs or of HTML for any of its
    characters, and in base64 or hexadecimal at any place of a longer text. Linear in the text."""

    def __init__(self, key: str | None) -> None:
        self._pattern = _spellings(key) if key is not None and len(key) >= MIN_KEY_CHARS else None

    def hide(self, text: str) -> str:
        return self._pattern.sub(HIDDEN, text) if self._pattern is not None else text

    def hide_bytes(self, data: bytes) -> bytes:
        """The same of bytes, whether they are UTF-8 or not."""
        if self._pattern is None:
            return data
        return self.hide(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def is_in(self, text: str) -> bool:
        return self._pattern is not None and self._pattern.search(text) is not None


def _spellings(key: str) -> re.Pattern[str]:
    characters = "".join(map(_spellings_of_character, key))
    data = key.encode()
    coded = {quote(key, safe=""), data.hex(), data.hex().upper()}
    for skipped in range(3):  # bytes of a group of three before it, where a longer text is coded
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            coded.add(_own_characters(encode(bytes(skipped) + data).decode(), skipped, len(data)))
    return re.compile("|".join([characters, *map(re.escape, sorted(coded, key=len, reverse=True))]))


def _own_characters(coded: str, skipped: int, length: int) -> str:
    """Of a base64 text those characters that are ``length`` bytes' alone: a neighbour's bits are in the others."""
    first, last = -(-skipped * 8 // 6), (skipped + length) * 8 // 6
    return coded[first:last]


def _spellings_of_character(character: str) -> str:
    point = ord(character)
    digits = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{point:x}")
    percent = "".join(f"%{byte:02x}" for byte in character.encode())
    percent = "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in percent)
    html = rf"&#(?:0{{0,6}}{point}|[xX]0{{0,6}}{digits});"
    json = rf"\\{{1,8}}(?:u0{{0,4}}{digits}|x0{{0,1}}{digits})"
    slash = r"|\\{1,8}/" if character == "/" else ""
    return f"(?:{re.escape(character)}|{json}|{percent}|{html}{slash})"


def without_addresses(text: str, *, public_urls: bool) -> str:
    """Without URLs, hosts with a port and IP addresses. ``public_urls``: those of web pages stay, to which an
    upstream's error refers its reader."""

    def replaced(match: re.Match[str]) -> str:
        return match.group() if public_urls and _PUBLIC_URL.match(match.group()) else ADDRESS

    return _ADDRESS.sub(replaced, text)


def on_one_line(text: str) -> str:
    """With its control characters spelled out: a line of a log is one line, and does nothing to a terminal."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape", "surrogatepass").decode(), text)
