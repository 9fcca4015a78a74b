"""The conversation, had in a chat front end in a real browser, and what a person must see of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from playwright.sync_api import Download, Locator, Page, expect, sync_playwright

from tests.fronts.conversation import FIRST, LONG, SECOND, THIRD
from tests.fronts.stack import Stack

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 60_000


class Front(Protocol):
    """One front end, with a conversation open in ``page``."""

    page: Page

    def ask(self, question: str) -> None: ...

    def stop(self) -> None:
        """Press its button."""
        ...

    def answer(self) -> Locator:
        """The latest answer."""
        ...

    def is_answering(self) -> bool: ...


@contextmanager
def browser() -> Iterator[Page]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1100, "height": 1400})
        page.set_default_timeout(PATIENCE_MS)
        yield page
        chromium.close()


@dataclass
class Screenshots:
    page: Page
    folder: Path
    count: int = field(default=0)

    def take(self, name: str) -> None:
        self.count += 1
        self.page.screenshot(path=self.folder / f"{self.count:02}-{name}.png")


def converse(front: Front, stack: Stack, shots: Screenshots, *, in_words: bool) -> None:
    """``in_words``: the model calls no tools, and writes its code in its answer.

    Raises:
        AssertionError: a person would miss something.
    """
    _first(front, shots, in_words=in_words)
    _second(front, shots)
    _stopped(front, stack, shots)
    front.ask(THIRD)
    expect(front.answer()).to_contain_text("The total was 63.")
    expect(front.answer()).to_contain_text("the total is 63")
    _wait_for_end(front)
    shots.take("third-answer")


def _first(front: Front, shots: Screenshots, *, in_words: bool) -> None:
    """Code as it is written, output, a table, a figure, a file."""
    front.ask(FIRST)
    expect(front.answer()).to_contain_text("import pandas")
    shots.take("code-is-written")
    expect(front.answer()).to_contain_text("months: 3")
    if not in_words:  # else output stands behind the model's own text, which has all of the code in it
        assert front.is_answering(), "its output comes while the model is writing"
        expect(front.answer()).not_to_contain_text("sales.to_csv", timeout=1)
    shots.take("first-output")
    expect(front.answer()).to_contain_text("total: 63")
    expect(front.answer()).to_contain_text("February was the best month")
    _wait_for_end(front)
    assert front.answer().locator("table tbody tr").all_inner_texts() != []
    expect(front.answer().locator("table tbody tr")).to_have_count(3)
    picture = front.answer().locator("img[src*='/v1/shared/']")
    picture.scroll_into_view_if_needed()
    front.page.wait_for_function(
        "picture => picture.complete && picture.naturalWidth > 100", arg=picture.element_handle()
    )
    shots.take("first-answer")
    assert "eager:" not in front.answer().inner_text(), "markers are not seen"
    assert _download(front.page, front.answer().get_by_role("link", name="sales.csv")).startswith(
        "month,sold\nJan,12\n"
    )


def _second(front: Front, shots: Screenshots) -> None:
    """It builds on the first one; an error is shown, and repaired."""
    front.ask(SECOND)
    expect(front.answer()).to_contain_text("21 were sold in a month")
    _wait_for_end(front)
    expect(front.answer()).to_contain_text("KeyError")
    expect(front.answer()).to_contain_text("goes on with a correction")
    expect(front.answer()).to_contain_text("mean: 21.0")
    shots.take("repaired")


def _stopped(front: Front, stack: Stack, shots: Screenshots) -> None:
    front.ask(LONG)
    expect(front.answer()).to_contain_text("second 3")
    shots.take("being-stopped")
    asked = len(stack.model.asked)
    front.stop()
    _wait_for_end(front)
    shots.take("stopped")
    assert "second 60" not in front.answer().inner_text()
    assert not any("I have counted" in str(body) for body in stack.model.asked[asked:])


def _wait_for_end(front: Front) -> None:
    _wait(front.page, lambda: not front.is_answering(), "the answer has no end")


def _download(page: Page, link: Locator) -> str:
    """Links may open a page of their own, which a download never fills."""
    downloads: list[Download] = []

    def watch(watched: Page) -> None:
        watched.on("download", lambda download: downloads.append(download))

    watch(page)
    page.context.on("page", watch)
    link.click()
    _wait(page, lambda: bool(downloads), "nothing was downloaded")
    return downloads[0].path().read_text()


def _wait(page: Page, for_what: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not for_what():
        assert time.monotonic() < deadline, otherwise
        page.wait_for_timeout(100)
