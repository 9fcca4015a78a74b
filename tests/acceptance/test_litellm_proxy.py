"""A proxy of others between us and the upstream: LiteLLM's, which writes every chunk anew."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.chat import PYTHON, WEATHER, ask, body
from tests.acceptance.sdks import AT_HOME, ENVIRONMENT, require_sdks
from tests.acceptance.upstream import Upstream, running
from tests.backends import require_backend
from tests.scenarios.servers import eager

pytestmark = pytest.mark.sdks
KEY = "sk-of-the-proxy"
CONFIGURATION = """
model_list:
  - model_name: "*"
    litellm_params: {{model: "openai/*", api_base: "{url}", api_key: upstream-key}}
general_settings: {{master_key: {key}}}
litellm_settings: {{num_retries: 0, telemetry: false}}
"""
RUNNING = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def proxy_url(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_sdks()
    folder: Path = tmp_path_factory.mktemp("litellm")
    (folder / "config.yaml").write_text(CONFIGURATION.format(url=upstream.url, key=KEY))
    program = ENVIRONMENT / "litellm" / "bin" / "litellm"
    process = subprocess.Popen(
        [program, "--config", "config.yaml", "--host", "127.0.0.1", "--port", "0", "--telemetry", "False"],
        cwd=folder,
        env={**os.environ, **AT_HOME, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said: list[str] = []
    reader = threading.Thread(target=said.extend, args=(process.stdout,))
    try:
        for line in process.stdout:
            said.append(line)
            if found := RUNNING.search(line):
                break
        else:
            raise AssertionError("".join(said))
        reader.start()
        yield found[1]
    finally:
        process.kill()
        process.wait()
        if reader.is_alive():
            reader.join()
        process.stdout.close()


@pytest.fixture(scope="module")
def gateway_url(proxy_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_backend("local")
    with eager(
        "serve",
        EAGER_UPSTREAM_BASE_URL=f"{proxy_url}/v1",
        EAGER_UPSTREAM_API_KEY=KEY,
        EAGER_API_KEYS="client-key",
        EAGER_PRELOAD="",
        EAGER_DATA_DIR=str(tmp_path_factory.mktemp("gateway")),
        EAGER_CHECKOUT_TIMEOUT_S="60",
    ) as server:
        yield server.url


@pytest.fixture
async def gateway(gateway_url: str, upstream: Upstream) -> AsyncIterator[httpx.AsyncClient]:
    upstream.asked.clear()
    headers = {"authorization": "Bearer client-key"}
    async with httpx.AsyncClient(base_url=gateway_url, headers=headers, timeout=60) as client:
        yield client


async def test_code_runs_once_and_the_answer_comes_in_the_end(gateway: httpx.AsyncClient, upstream: Upstream) -> None:
    answer = await ask(gateway, body("program", "print(6 * 7)\n", eager={"events": True}))
    assert answer.text == "The tool said: 42"
    assert answer.stdout == "42\n"
    assert answer.finish_reason == "stop"
    assert len(upstream.asked) == 2


async def test_a_whole_answer_and_a_response(gateway: httpx.AsyncClient) -> None:
    whole = await gateway.post("/v1/chat/completions", json=body("program", "print(6 * 7)\n"))
    assert whole.json()["choices"][0]["message"]["content"] == "The tool said: 42"
    interpreter = {"type": "code_interpreter", "container": {"type": "auto"}}
    response = await gateway.post(
        "/v1/responses", json={"model": "program", "input": "print(6 * 7)\n", "tools": [interpreter]}
    )
    assert [item["type"] for item in response.json()["output"]] == ["code_interpreter_call", "message"]


async def test_the_clients_tool_is_the_clients(gateway: httpx.AsyncClient) -> None:
    answer = await ask(gateway, body("up-unknown-tool", tools=[PYTHON, WEATHER]))
    assert [call["name"] for call in answer.calls] == ["get_weather"]
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize("status", [400, 429])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_is_one_of_its_status(gateway: httpx.AsyncClient, status: int, stream: bool) -> None:
    response = await gateway.post("/v1/chat/completions", json=body(f"status-{status}", stream=stream))
    assert response.status_code == status
    assert "on purpose" in response.json()["error"]["message"]
