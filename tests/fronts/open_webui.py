"""Drives Open WebUI, as it is shipped, in a real browser over a gateway. By hand, since it is 7 GB:

    python3.11 -m venv DIR && DIR/bin/pip install open-webui
    .venv/bin/uv pip install --group fronts && scripts/apt-install chromium
    .venv/bin/python -m tests.fronts.open_webui DIR [--model sales-words] [--record]

It is told the base URL and a key, and the model's alias is chosen. ``--record`` writes down what it sent, for
tests/fronts/test_recorded.py.
"""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.fronts.browser import Screenshots, browser, converse
from tests.fronts.by_hand import Run, free_port, main, serving
from tests.fronts.conversation import TITLE
from tests.fronts.stack import KEY

#: What is set of it, beside the base URL. The rest is about this machine: no internet, one user, no documents.
_SET = {"OPENAI_API_KEY": KEY}
_HERE = {"OFFLINE_MODE": "true", "WEBUI_AUTH": "false", "BYPASS_EMBEDDING_AND_RETRIEVAL": "true"}


class OpenWebUI:
    def __init__(self, page: Page) -> None:
        self.page = page

    def ask(self, question: str) -> None:
        self.page.locator("#chat-input").click()
        self.page.keyboard.type(question)
        self.page.keyboard.press("Enter")
        expect(self.page.locator(".user-message").last).to_contain_text(question)

    def stop(self) -> None:
        self._stop_button.click()

    def answer(self) -> Locator:
        return self.page.locator(".chat-assistant").last

    def is_answering(self) -> bool:
        return self._stop_button.count() > 0

    @property
    def _stop_button(self) -> Locator:
        return self.page.get_by_role("button", name="Stop", exact=True)


def run(given: Run) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = (given.installed / "bin" / "open-webui", "serve", "--host", "127.0.0.1", "--port", str(port))
    data = given.folder / "data"
    data.mkdir()
    told = {**_SET, **_HERE, "OPENAI_API_BASE_URL": given.stack.base_url, "DATA_DIR": str(data)}
    with serving(command, f"{url}/health", given.folder, **told), browser() as page:
        page.goto(f"{url}/?model={given.model}:eager")
        page.wait_for_selector("#chat-input")
        news = page.get_by_role("dialog")
        news.wait_for()
        news.get_by_role("button").last.click()
        news.wait_for(state="hidden")
        shots = Screenshots(page, given.folder)
        converse(OpenWebUI(page), given.stack, shots, in_words=given.in_words)
        expect(page.get_by_text(TITLE).first).to_be_visible()
        shots.take("title")


if __name__ == "__main__":
    main("open_webui", run)
