"""Where the pages lead: files and headings that exist. The site's own check (``make docs``) sees the same, in CI."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests.documentation.pages import PROJECT, pages, tokens_of

ELSEWHERE = ("http://", "https://", "mailto:")
#: Longest that a page may be for the first look.
README_LINES = 150


@cache
def anchors_of(page: Path) -> frozenset[str]:
    tokens = tokens_of(page)
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def links_of(page: Path) -> Iterator[str]:
    for token in tokens_of(page):
        for child in token.children or []:
            link = child.attrGet("href") or child.attrGet("src")
            if link is not None:
                yield str(link)


def broken_links_of(page: Path) -> list[str]:
    broken = []
    for link in links_of(page):
        if link.startswith(ELSEWHERE):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.is_file() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    assert broken_links_of(page) == []


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading\n\n[here](#a-heading), [not here](#another), [no file](gone.md)\n")
    assert broken_links_of(page) == ["#another", "gone.md"]


def test_every_page_of_the_documentation_is_in_the_site() -> None:
    site = (PROJECT / "mkdocs.yml").read_text("utf-8")
    named = set(re.findall(r"[\w./-]+\.md", site))
    assert {str(page.relative_to(PROJECT)) for page in pages()} == named


def test_the_readme_is_short() -> None:
    assert (PROJECT / "README.md").read_text("utf-8").count("\n") < README_LINES


def test_what_the_paper_defines_lives_where_the_page_says() -> None:
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", (PROJECT / "docs" / "paper-map.md").read_text("utf-8"), re.MULTILINE)
    equations = {int(found[1]) for name, _ in rows if (found := re.match(r"Eq\. (\d+)", name))}
    assert equations == set(range(1, 18))
    for name, where in rows[2:]:
        for file, names in re.findall(r"`([\w/]+\.py)`(?:: ((?:`\w+`(?:, )?)+))?", where):
            text = (PROJECT / file).read_text("utf-8")
            for symbol in re.findall(r"`(\w+)`", names):
                lines = [line for line in text.splitlines() if f"def {symbol}(" in line]
                assert lines, f"{name}: {file} has no {symbol}"
