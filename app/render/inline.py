"""Foreign text inside a line of ours: it is shown as it is, and is never Markdown or HTML."""

from __future__ import annotations

import re

#: What is shown of a name or a message.
MAX_CHARS = 300
_SPECIAL = re.compile(r"[\\`*_{}\[\]()<>#+\-.!|~$&:@/=^\"']")
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]+")
_TICKS = re.compile(r"`+")


def one_line(text: str, limit: int = MAX_CHARS) -> str:
    """Without line ends and what is not seen or turns the direction of writing; the end of a long one is left out."""
    text = " ".join(_UNSHOWN.sub(" ", text[: limit * 4]).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def escaped(text: str) -> str:
    """One line as plain text."""
    return _SPECIAL.sub(lambda match: _escape(match[0]), one_line(text))


def _escape(char: str) -> str:
    # Front ends that show HTML as it stands know entities all the same (CommonMark 6.2); a table's cell knows no "\|".
    return f"&#{ord(char)};" if char in "<>&|" else "\\" + char


def code_span(text: str) -> str:
    """One line as code (CommonMark 6.1)."""
    line = one_line(text)
    if not line:
        return "` `"
    longest = max((len(run) for run in _TICKS.findall(line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line[0] in "` " or line[-1] in "` " else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def size(count: int) -> str:
    """Bytes, for people."""
    amount, unit = float(count), "bytes"
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
