from __future__ import annotations

from typing import Any

import pytest

from app.api.tools import INTERPRETER_NAME, code_tool_names, for_upstream, has_code_tool, interpreter, undeclared
from app.errors import RequestError
from app.extraction.names import CODE_TOOLS

CODE_INTERPRETER = {"type": "code_interpreter", "container": {"type": "auto"}}


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {}}}


@pytest.mark.parametrize(
    ("tools", "names", "expected"),
    [
        ([function("python")], CODE_TOOLS, True),
        ([function("Functions.Python")], CODE_TOOLS, False),
        ([function("functions.PYTHON")], CODE_TOOLS, True),
        ([CODE_INTERPRETER], CODE_TOOLS, True),
        ([function("get_weather")], CODE_TOOLS, False),
        ([function("python")], code_tool_names(["sandbox"]), False),
        ([function("sandbox")], code_tool_names(["Sandbox"]), True),
        ([function("python"), CODE_INTERPRETER], frozenset(), False),
        ([{"type": "function"}, {"type": "function", "function": {"name": 1}}], CODE_TOOLS, False),
        (None, CODE_TOOLS, False),
    ],
)
def test_which_requests_may_run_code(tools: object, names: frozenset[str], expected: bool) -> None:
    assert has_code_tool({"tools": tools}, names) is expected


def test_the_interpreter_becomes_a_function_and_the_choice_goes_along() -> None:
    body = {"tools": [function("get_weather"), CODE_INTERPRETER], "tool_choice": {"type": "code_interpreter"}}
    upstream, names = for_upstream(body, CODE_TOOLS)
    assert upstream["tools"] == [function("get_weather"), interpreter(INTERPRETER_NAME, hint=False)]
    assert upstream["tool_choice"] == {"type": "function", "function": {"name": "python"}}
    assert names == CODE_TOOLS
    assert body["tools"][1] == CODE_INTERPRETER


def test_a_declared_python_tool_is_the_interpreter_too() -> None:
    upstream, _ = for_upstream({"tools": [function("python"), CODE_INTERPRETER]}, CODE_TOOLS)
    assert upstream["tools"] == [function("python")]


def test_a_python_tool_of_the_clients_own_keeps_its_name() -> None:
    upstream, names = for_upstream({"tools": [function("python"), CODE_INTERPRETER]}, frozenset({"sandbox"}))
    assert [tool["function"]["name"] for tool in upstream["tools"]] == ["python", "code_interpreter"]
    assert names == {"sandbox", "code_interpreter"}


def test_calls_of_the_interpreter_are_ours_whatever_names_are_configured() -> None:
    _, names = for_upstream({"tools": [CODE_INTERPRETER]}, frozenset({"sandbox"}))
    assert names == {"sandbox", "python"}


@pytest.mark.parametrize("mode", ["auto", "required"])
@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        ([{"type": "code_interpreter"}], ["python"]),
        ([{"type": "function", "function": {"name": "get_weather"}}], ["get_weather"]),
        ([{"type": "code_interpreter"}, {"type": "function", "function": {"name": "f"}}], ["f", "python"]),
    ],
)
def test_of_allowed_tools_only_those_are_left(mode: str, allowed: list[dict[str, Any]], names: list[str]) -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}
    body = {"tools": [function("get_weather"), function("f"), CODE_INTERPRETER], "tool_choice": choice}
    upstream, _ = for_upstream(body, CODE_TOOLS)
    assert [tool["function"]["name"] for tool in upstream["tools"]] == names
    assert upstream["tool_choice"] == mode


@pytest.mark.parametrize(
    "allowed", [None, {"mode": "auto"}, {"mode": "auto", "tools": [function("other"), 1]}, {"mode": [], "tools": []}]
)
def test_a_choice_that_allows_no_tool_is_refused(allowed: object) -> None:
    body = {"tools": [CODE_INTERPRETER], "tool_choice": {"type": "allowed_tools", "allowed_tools": allowed}}
    with pytest.raises(RequestError) as refused:
        for_upstream(body, CODE_TOOLS)
    assert refused.value.param == "tool_choice"


def test_which_code_tools_the_client_has_not_declared() -> None:
    body = {"tools": [function("functions.Python"), CODE_INTERPRETER]}
    assert undeclared(frozenset({"python", "run_python"}), body) == {"run_python"}


def test_a_body_without_it_is_not_touched() -> None:
    body = {"tools": [function("python")]}
    upstream, names = for_upstream(body, CODE_TOOLS)
    assert upstream is body
    assert names is CODE_TOOLS
