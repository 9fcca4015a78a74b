"""The pages of the project, and the blocks of code in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

PROJECT: Final = Path(__file__).parents[2]
PATTERNS: Final = ("*.md", "deploy/*.md", "examples/*.md", "docs/**/*.md")
MARKDOWN: Final = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Block:
    """A fenced block: ``note`` is the comment right before it."""

    page: Path
    line: int
    language: str
    text: str
    note: str


def pages() -> list[Path]:
    return sorted({page for pattern in PATTERNS for page in PROJECT.glob(pattern)})


def tokens_of(page: Path) -> list[Token]:
    return MARKDOWN.parse(page.read_text("utf-8"))


def blocks_of(page: Path) -> Iterator[Block]:
    note = ""
    for token in tokens_of(page):
        if token.type == "fence":
            line = token.map[0] + 1 if token.map else 0
            yield Block(page, line, token.info.strip(), token.content, note)
        note = token.content.strip().removeprefix("<!--").removesuffix("-->").strip() if _is_comment(token) else ""


def _is_comment(token: Token) -> bool:
    return token.type == "html_block" and token.content.startswith("<!--")
