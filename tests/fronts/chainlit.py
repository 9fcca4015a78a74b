"""Drives Chainlit, running examples/chainlit_app.py, in a real browser over a gateway. By hand:

python3.11 -m venv DIR && DIR/bin/pip install chainlit openai
.venv/bin/uv pip install --group fronts && scripts/apt-install chromium
.venv/bin/python -m tests.fronts.chainlit DIR [--model sales-words] [--record]
"""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.fronts.browser import Screenshots, browser, converse
from tests.fronts.by_hand import Run, free_port, main, serving
from tests.fronts.stack import KEY

APP = Path(__file__).parents[2] / "examples" / "chainlit_app.py"


class Chainlit:
    def __init__(self, page: Page) -> None:
        self.page = page

    def ask(self, question: str) -> None:
        self.page.locator("#chat-input").click()
        self.page.keyboard.type(question)
        self.page.keyboard.press("Enter")
        expect(self.page.locator("[data-step-type=user_message]").last).to_contain_text(question)
        expect(self._stop_button).to_be_visible()

    def stop(self) -> None:
        self._stop_button.click()

    def answer(self) -> Locator:
        return (
            self.page.locator("[data-step-type=user_message]")
            .last.locator("xpath=following::*[@data-step-type='assistant_message']")
            .last
        )

    def is_answering(self) -> bool:
        return self._stop_button.count() > 0

    @property
    def _stop_button(self) -> Locator:
        return self.page.locator("#stop-button")


def run(given: Run) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    shutil.copy(APP, given.folder)
    command = (given.installed / "bin" / "chainlit", "run", "--headless", "--port", str(port), APP.name)
    told = {"OPENAI_BASE_URL": given.stack.base_url, "OPENAI_API_KEY": KEY, "MODEL": f"{given.model}:eager"}
    with serving(command, url, given.folder, **told), browser() as page:
        page.goto(url)
        page.wait_for_selector("#chat-input")
        converse(Chainlit(page), given.stack, Screenshots(page, given.folder), in_words=given.in_words)


if __name__ == "__main__":
    main("chainlit", run)
