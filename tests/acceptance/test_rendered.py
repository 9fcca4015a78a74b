"""Rendered answers in a real browser, drawn by the Markdown libraries that front ends use: what is meant to be seen is
seen, and nothing that code has said or named does anything."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.acceptance.chromium import Page, page
from tests.acceptance.sdks import ENVIRONMENT, require_sdks

pytestmark = [pytest.mark.browser, pytest.mark.sdks]

MODULES = ENVIRONMENT / "node" / "node_modules"
SCRIPTS = (
    "markdown-it/dist/browser/markdown-it.umd.min.js",
    "marked/lib/marked.umd.js",
    "dompurify/dist/purify.min.js",
)
#: How a front end may draw Markdown; the last trusts what it is given.
DRAWN_BY = {
    "markdown-it": "DOMPurify.sanitize(markdownit({html: true, linkify: true}).render(text))",
    "marked": "DOMPurify.sanitize(marked.parse(text))",
    "markdown-it, without DOMPurify": "markdownit({html: true, linkify: true}).render(text)",
}


def _png() -> bytes:
    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 20, 10, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * 20) * 10)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")


BAD = "<img src=http://foreign.example/{0} onerror=owned=1><script>owned=1</script>![x](http://foreign.example/{0})"
PROGRAM = f"""\
import base64
class Shown:
    def __init__(self, kind, data):
        self.shown = {{kind: data}}
    def _repr_mimebundle_(self, **wanted):
        return self.shown
bad = {BAD!r}.format
print("plain words", bad(1))
print("```\\n" + bad(2) + "\\n</details>\\n[//]: # (eager:AAAAAAAAAAAA.0:out)\\n\\n" + bad(3))
display(Shown("text/html", "<table><tr><th>name</th><th>" + bad(4) + "</th></tr><tr><td>one</td><td>|" + bad(5) +
    "</td></tr><tr><td>[x](javascript:owned=1)</td><td>&lt;script&gt;owned=1&lt;/script&gt;</td></tr></table>"))
display(Shown("text/markdown", bad(6)))
display(Shown("text/html", bad(7)))
display(Shown("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg' onload='owned=1'></svg>"))
for latex in ("$x^2 ![x](http://foreign.example/8)$", "$~~~$", "$===$", "$\\\\href{{javascript:owned=1}}{{x}}$"):
    display(Shown("text/latex", latex))
display(Shown("image/png", base64.b64decode({base64.b64encode(_png()).decode()!r})))
for name in ("data.csv", "page.html", "a](javascript:owned=1).txt", "<img src=x onerror=owned=1>.txt", "`![x](y).svg"):
    with open(name, "w") as file:
        file.write("<script>owned=1</script>")
raise ValueError(bad(9) + "\\n\\n# heading\\n</details>" + bad(10))
"""


@pytest.fixture(scope="module")
def text(gateway_url: str) -> str:
    """A rendered answer."""
    body = {"model": "program:eager", "messages": [{"role": "user", "content": PROGRAM}], "eager": {"max_turns": 1}}
    headers = {"authorization": "Bearer client-key"}
    with httpx.stream(
        "POST", f"{gateway_url}/v1/chat/completions", json={**body, "stream": True}, headers=headers, timeout=120
    ) as answer:
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: {")]
    deltas = [event["choices"][0]["delta"] for event in events if event.get("choices")]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    require_sdks()
    with page(tmp_path_factory.mktemp("browser")) as shown:
        libraries = "".join(f"<script>{(MODULES / script).read_text()}</script>" for script in SCRIPTS)
        shown.open(f"<!doctype html><meta charset=utf-8>{libraries}<main></main>")
        yield shown


def _draw(shown: Page, text: str, by: str) -> dict[str, Any]:
    """What there is to be seen, when all pictures are there or will never be."""
    drawn: dict[str, Any] = shown.run(
        f"""(async (text) => {{
            const main = document.querySelector("main");
            main.innerHTML = {DRAWN_BY[by]};
            const all = (selector) => [...main.querySelectorAll(selector)];
            await Promise.all(all("img").map((image) => image.decode().catch(() => null)));
            return {{
                images: all("img").map((image) => [image.src, image.naturalWidth, image.naturalHeight]),
                tables: all("table").map((table) => [...table.rows].map((row) => row.cells.length)),
                links: all("a").map((link) => [link.textContent, link.href]),
                code: all("pre code").map((code) => code.textContent),
                folded: all("details").map((details) => details.innerText.trim() && details.parentNode === main),
                headings: all("h1, h2, h3").length,
                active: all("script, svg, iframe, object, style, link, form").length,
                handlers: all("*").filter((it) => it.getAttributeNames().some((name) => /^on/.test(name))).length,
                text: main.innerText,
                owned: typeof owned,
            }};
        }})({json.dumps(text)})"""
    )
    return drawn


@pytest.mark.parametrize("by", DRAWN_BY)
def test_what_code_says_is_seen_and_does_nothing(gateway_url: str, shown: Page, text: str, by: str) -> None:
    drawn = _draw(shown, text, by)
    ((source, *size),) = drawn["images"]
    assert source.startswith(f"{gateway_url}/v1/shared/")
    assert size == [20, 10]
    assert drawn["tables"] == [[2, 2, 2]]
    assert drawn["folded"] == [True]
    assert [drawn[kind] for kind in ("headings", "active", "handlers", "owned")] == [0, 0, 0, "undefined"]
    names = ["data.csv", "page.html", "a](javascript:owned=1).txt", "<img src=x onerror=owned=1>.txt", "`![x](y).svg"]
    assert sorted(name for name, _ in drawn["links"]) == sorted(names)
    assert {urlsplit(link)[:2] for _, link in drawn["links"]} == {urlsplit(gateway_url)[:2]}
    assert any("plain words" in code and "<script>" in code for code in drawn["code"])
    assert "ValueError" in drawn["text"]
    assert "eager:" not in re.sub(r"eager:AAAAAAAAAAAA", "", drawn["text"]), "markers are not seen"
    assert {urlsplit(url)[:2] for url in shown.asked_for} <= {urlsplit(gateway_url)[:2]}, "no foreign address is asked"


def test_a_link_to_a_file_downloads_it_and_is_no_page(shown: Page, text: str) -> None:
    _draw(shown, text, "marked")
    for name in ("data.csv", "page.html"):
        click = f"[...document.links].find((link) => link.textContent === {name!r}).click()"
        assert shown.download(click) == name
    assert shown.run("typeof owned") == "undefined"
