"""Reasoning at the beginning of the content: ``<think>...</think>``, which servers without a parser for it leave there.

Code in it is a draft, and no more to be run than what comes as ``reasoning``.
"""

from __future__ import annotations

from app.extraction.tag_bodies import UntilTag

_OPENING = "<think>"
_CLOSING = "</think>"


class WithoutThoughts:
    """``feed`` returns the text in which code may be looked for. Held back is what may be the opening tag; at the end
    of a message there is no code in it."""

    def __init__(self) -> None:
        self._head: str | None = ""  # the start of the message, until it is known whether it is the tag
        self._blanks: list[str] = []  # before it, in pieces: there may be many
        self._thoughts: UntilTag | None = None

    def __repr__(self) -> str:
        return f"<WithoutThoughts head={self._head!r} thinking={self._thoughts is not None}>"

    @property
    def holds_text(self) -> bool:
        """What has come so far may be the opening tag."""
        return self._head is not None

    def feed(self, text: str) -> str:
        if self._head is not None:
            if not self._head:
                start = text.lstrip()
                self._blanks.append(text[: len(text) - len(start)])
            else:
                start = self._head + text
            if _OPENING.startswith(start):
                self._head = start
                return ""
            self._head = None
            if start.startswith(_OPENING):
                self._thoughts = UntilTag(_CLOSING)
                text = start[len(_OPENING) :]
            else:
                text = "".join(self._blanks) + start
            self._blanks.clear()
        if self._thoughts is None:
            return text
        _, text = self._thoughts.feed(text)
        if self._thoughts.found:
            self._thoughts = None
        return text
