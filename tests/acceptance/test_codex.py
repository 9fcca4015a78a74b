"""Codex CLI, the newest release as npm has it, over ``/v1/responses``: with its own provider and its own tools, told of
nothing but our address."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.sdks import ENVIRONMENT, require_sdks
from tests.acceptance.upstream import Upstream

pytestmark = pytest.mark.sdks
#: A model that Codex knows, and gives all its kinds of tools to.
MODEL = "gpt-5.5"
PATCH = "*** Begin Patch\n*** Add File: made.txt\n+by the model\n*** End Patch\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    require_sdks()
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def codex(project: Path, gateway_url: str, call: list[Any], *flags: str, model: str = MODEL) -> list[dict[str, Any]]:
    """The items of a turn, in which the model makes this call and then tells what came of it."""
    # Codex makes its helpers, and with them its sandbox, in no home that lies in the folder for temporary files.
    home, temporary = project.parent / "home", project.parent / "temporary"
    home.mkdir(exist_ok=True)
    temporary.mkdir(exist_ok=True)
    node, program = ENVIRONMENT / "node" / "node", ENVIRONMENT / "node" / "node_modules/@openai/codex/bin/codex.js"
    address = f'openai_base_url="{gateway_url}/v1"'
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(temporary)}
    environment["CODEX_API_KEY"] = "client-key"
    done = subprocess.run(
        [
            node,
            program,
            "exec",
            "--json",
            "--skip-git-repo-check",
            "-m",
            model,
            "-c",
            address,
            *flags,
            json.dumps(call),
        ],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert any(event["type"] == "turn.completed" for event in events), done.stdout + done.stderr
    assert not [event for event in events if event["type"] == "error"], "it had to try again"
    return [event["item"] for event in events if event["type"] == "item.completed"]


def said(items: list[dict[str, Any]]) -> str:
    return str(next(item["text"] for item in items if item["type"] == "agent_message"))


def test_a_command_runs_where_codex_runs(project: Path, gateway_url: str, upstream: Upstream) -> None:
    items = codex(project, gateway_url, ["exec_command", {"cmd": "echo from-$((6 * 7))"}])
    assert [item["type"] for item in items] == ["command_execution", "agent_message"]
    assert "from-42" in said(items)
    first, _ = upstream.bodies()
    assert {"exec_command", "apply_patch", "tool_search"} <= {tool["function"]["name"] for tool in first["tools"]}
    assert {tool["type"] for tool in first["tools"]} == {"function"}


def test_a_tool_with_a_grammar_gets_its_text(project: Path, gateway_url: str) -> None:
    items = codex(project, gateway_url, ["apply_patch", {"input": PATCH}], "--sandbox", "workspace-write")
    assert "made.txt" in said(items)
    assert (project / "made.txt").read_text() == "by the model\n"


def test_tools_that_codex_has_found_can_be_called(project: Path, gateway_url: str, upstream: Upstream) -> None:
    codex(project, gateway_url, ["tool_search", {"query": "agent"}])
    first, second = upstream.bodies()
    found = {tool["function"]["name"] for tool in second["tools"]} - {
        tool["function"]["name"] for tool in first["tools"]
    }
    assert found
    assert all("__" in name for name in found)


def test_code_runs_here_beside_the_tools_of_codex(project: Path, gateway_url: str, upstream: Upstream) -> None:
    """The model's alias brings the interpreter."""
    items = codex(project, gateway_url, ["python", {"code": "print(6 * 7)"}], model=f"{MODEL}:eager")
    assert said(items) == "The tool said: 42"
    names = [tool["function"]["name"] for tool in upstream.bodies()[0]["tools"]]
    assert "python" in names
    assert "exec_command" in names
