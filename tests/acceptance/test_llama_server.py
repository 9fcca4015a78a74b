"""A server of others as the upstream: through the gateway its answers, streams and errors are what it says itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.upstream.client import Upstream
from tests.acceptance.sdks import CLIENTS, ENVIRONMENT, require_sdks
from tests.api.served import Served, served

INTERPRETER = {"type": "code_interpreter"}
GREEDY = {"model": "random", "max_tokens": 8, "temperature": 0, "seed": 1}
ASKED = {**GREEDY, "messages": [{"role": "user", "content": "Hi."}]}
TOO_LONG = {**GREEDY, "messages": [{"role": "user", "content": "Hi. " * 3000}]}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_sdks()
    program = [str(ENVIRONMENT / "llama" / "bin" / "python"), str(CLIENTS / "llama_server.py")]
    folder = tmp_path_factory.mktemp("model")
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [*program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as server,
    ):
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address, (folder / "log").read_text()
        try:
            yield address if address.startswith("http") else f"http://{address}"
        finally:
            server.kill()


@pytest.fixture
async def gateway(url: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as gateway, Upstream(f"{url}/v1") as upstream:
        gateway.ask(upstream)
        yield gateway


async def both(gateway: Served, url: str, body: dict[str, Any]) -> list[httpx.Response]:
    """What the server answers, and what the gateway does."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as direct, gateway.http() as through:
        return [await http.post("/v1/chat/completions", json=body) for http in (direct, through)]


def said(response: httpx.Response) -> tuple[str, str]:
    """Text and finish reason of a stream."""
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    texts = (choice["delta"].get("content") or "" for choice in choices)
    return "".join(texts), next(choice["finish_reason"] for choice in choices if choice.get("finish_reason"))


async def test_an_answer_is_that_of_the_server(gateway: Served, url: str) -> None:
    direct, through = await both(gateway, url, ASKED)
    assert (direct.status_code, through.status_code) == (200, 200)
    assert through.json()["choices"] == direct.json()["choices"]
    direct, through = await both(gateway, url, {**ASKED, "stream": True})
    assert said(through) == said(direct)


async def test_with_a_code_tool_it_is_streamed_and_put_together_alike(gateway: Served) -> None:
    """The model is told of a tool, and writes nonsense all the same."""
    async with gateway.http() as http:
        asked = {**ASKED, "tools": [INTERPRETER]}
        whole = await http.post("/v1/chat/completions", json=asked)
        stream = await http.post("/v1/chat/completions", json={**asked, "stream": True})
    assert whole.status_code == 200, whole.text
    [choice] = whole.json()["choices"]
    assert said(stream) == (choice["message"]["content"] or "", choice["finish_reason"])
    assert whole.json()["usage"]["prompt_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_has_the_words_of_the_server_and_the_code_of_openai(
    gateway: Served, url: str, stream: bool
) -> None:
    direct, through = await both(gateway, url, {**TOO_LONG, "stream": stream})
    theirs, ours = direct.json()["error"], through.json()["error"]
    assert theirs["type"] == "exceed_context_size_error"
    assert through.status_code == 400
    assert ours == {
        "message": theirs["message"],
        "type": "invalid_request_error",
        "param": None,
        "code": "context_length_exceeded",
    }
