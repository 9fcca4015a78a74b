"""Client SDKs as programs (clients/) in the environment that scripts/sdk-env makes, asked over standard input.

Without the environment the tests are skipped; EAGER_TEST_SDKS=required (CI) makes them fail.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from tests.preparation import failure_of

CLIENTS = Path(__file__).with_name("clients")
ENVIRONMENT = Path(".eager/sdk-env").absolute()
#: SDKs that would call home are told not to.
AT_HOME = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LANGSMITH_TRACING": "false",
    "AI_SDK_TELEMETRY_DISABLED": "1",
    "HF_HUB_OFFLINE": "1",
}

OPENAI_ERRORS = ("BadRequestError", "AuthenticationError", "RateLimitError")


@dataclass(frozen=True)
class Sdk:
    """``program`` is one of clients/; ``errors`` are the classes it raises for 400, 401 and 429."""

    program: str
    environment: str = "sdks"
    errors: tuple[str, str, str] = OPENAI_ERRORS
    responses: bool = True
    runs_tools: bool = True
    fetches_files: bool = False

    def __str__(self) -> str:
        return Path(self.program).stem

    @property
    def command(self) -> list[str]:
        if self.environment == "node":
            node = ENVIRONMENT / "node"
            links = ("--preserve-symlinks", "--preserve-symlinks-main")
            return [str(node / "node"), *links, str(node / "clients" / self.program)]
        return [str(ENVIRONMENT / self.environment / "bin" / "python"), str(CLIENTS / self.program)]


SDKS = (
    Sdk("openai_sync.py", fetches_files=True),
    Sdk("openai_async.py", fetches_files=True),
    Sdk("openai_node.mjs", "node", fetches_files=True),
    Sdk("langchain_chat.py"),
    Sdk("pydantic_ai_agent.py", errors=("ModelHTTPError",) * 3),
    Sdk("litellm_sdk.py", "litellm"),
    Sdk("openai_agents.py"),
    Sdk("ai_sdk.mjs", "node", errors=("APICallError",) * 3),
    # The last, as it lacks some: pytest then starts each program once.
    Sdk("smolagents_model.py", responses=False, runs_tools=False),
)


def require_sdks() -> None:
    """Skip the test, or fail it, if the environment is not there."""
    if (ENVIRONMENT / "installed").exists() and os.environ.get("EAGER_TEST_SDKS") != "off":
        return
    missing = f"no client SDKs: {failure_of('sdks') or 'scripts/sdk-env makes them'}"
    if os.environ.get("EAGER_TEST_SDKS") == "required":
        pytest.fail(missing)
    pytest.skip(missing)


class Client:
    """A program that runs."""

    def __init__(self, sdk: Sdk, requests: IO[str], answers: IO[str]) -> None:
        self.sdk = sdk
        self._requests = requests
        self._answers = answers

    def do(self, operation: str, **request: Any) -> dict[str, Any]:
        """What the operation returned, or ``{"error": ...}``; see clients/serve.py."""
        print(json.dumps({"do": operation, "key": "client-key", **request}), file=self._requests, flush=True)
        line = self._answers.readline()
        assert line, f"{self.sdk.program} has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def running(sdk: Sdk, gateway_url: str) -> Iterator[Client]:
    environment = {**os.environ, **AT_HOME, "GATEWAY_URL": f"{gateway_url}/v1", "OPENAI_API_KEY": "none"}
    with subprocess.Popen(
        sdk.command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Client(sdk, process.stdin, process.stdout)
        finally:
            process.kill()
