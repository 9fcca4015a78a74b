from __future__ import annotations

from typing import Any

import pytest

from app.api.responses.tools import ContainerChoice, translate_tools
from app.api.tools import INTERPRETER_NAMES
from app.errors import RequestError

INTERPRETER = {"type": "code_interpreter", "container": {"type": "auto"}}


def function(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {"type": "object"}, **fields}


def test_functions_are_wrapped_as_chat_completions_want_them() -> None:
    tools = translate_tools([function("w", description="d", strict=True), function("v", strict=None)], "auto")
    parameters = {"type": "object"}
    assert tools.upstream == [
        {"type": "function", "function": {"name": "w", "description": "d", "parameters": parameters, "strict": True}},
        {"type": "function", "function": {"name": "v", "parameters": parameters}},
    ]
    assert (tools.choice, tools.code_tool, tools.container) == (None, None, None)


def test_the_interpreter_becomes_a_function_that_takes_code() -> None:
    tools = translate_tools([INTERPRETER], "auto")
    [tool] = tools.upstream
    assert tool["function"]["name"] == tools.code_tool == "python"
    assert tool["function"]["parameters"]["required"] == ["code"]


def test_a_function_of_the_clients_keeps_its_name_and_ours_gives_way() -> None:
    tools = translate_tools([function("python"), INTERPRETER], "auto")
    assert [tool["function"]["name"] for tool in tools.upstream] == ["python", "code_interpreter"]
    assert tools.code_tool == "code_interpreter"


@pytest.mark.parametrize(
    ("container", "choice"),
    [
        (None, ContainerChoice()),
        ("cntr_1", ContainerChoice("cntr_1")),
        ({"type": "auto"}, ContainerChoice()),
        (
            {"type": "auto", "file_ids": ["file-1"], "memory_limit": "4g", "network_policy": {"type": "disabled"}},
            ContainerChoice(None, ("file-1",), "4g"),
        ),
    ],
)
def test_a_container_is_named_or_automatic(container: object, choice: ContainerChoice) -> None:
    assert translate_tools([{"type": "code_interpreter", "container": container}], "auto").container == choice
    assert translate_tools([{"type": "code_interpreter"}], "auto").container == ContainerChoice()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", None),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "name": "w"}, {"type": "function", "function": {"name": "w"}}),
        ({"type": "code_interpreter"}, {"type": "function", "function": {"name": "python"}}),
    ],
)
def test_a_choice_is_translated(choice: str | dict[str, Any], expected: object) -> None:
    assert translate_tools([function("w"), INTERPRETER], choice).choice == expected


@pytest.mark.parametrize(
    ("mode", "allowed", "names", "expected"),
    [
        ("auto", [{"type": "code_interpreter"}], ["code_interpreter"], None),
        (
            "required",
            [{"type": "code_interpreter"}, {"type": "function", "name": "w"}],
            ["w", "code_interpreter"],
            "required",
        ),
        ("required", [{"type": "function", "name": "python"}], ["python"], "required"),
    ],
)
def test_of_allowed_tools_the_upstream_is_told_of_no_others(
    mode: str, allowed: list[dict[str, Any]], names: list[str], expected: str | None
) -> None:
    choice = {"type": "allowed_tools", "mode": mode, "tools": allowed}
    tools = translate_tools([function("w"), function("python"), INTERPRETER], choice)
    assert [tool["function"]["name"] for tool in tools.upstream] == names
    assert (tools.choice, tools.code_tool) == (expected, "code_interpreter")


def test_without_tools_there_is_nothing_to_choose() -> None:
    assert translate_tools([], "required").choice is None


def interpreter(**container: Any) -> dict[str, Any]:
    return {"type": "code_interpreter", "container": {"type": "auto", **container}}


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        ([{"type": "function"}], "auto", "tools.0.name"),
        ([{}], "auto", "tools.0.type"),
        ([{"type": "code_interpreter", "container": 3}], "auto", "tools.0.container"),
        ([{"type": "code_interpreter", "container": "\ud800"}], "auto", "tools.0.container"),
        ([interpreter(file_ids="x")], "auto", "tools.0.container.file_ids"),
        ([interpreter(file_ids=["a\x00"])], "auto", "tools.0.container.file_ids"),
        ([interpreter(memory_limit="2g")], "auto", "tools.0.container.memory_limit"),
        ([interpreter(memory_limit=[])], "auto", "tools.0.container.memory_limit"),
        ([interpreter(network_policy={"type": "allowlist"})], "auto", "tools.0.container.network_policy"),
        ([interpreter(network_policy="disabled")], "auto", "tools.0.container.network_policy"),
        ([function("w")], {"type": "function", "name": "v"}, "tool_choice"),
        ([INTERPRETER], {"type": "function", "name": "python"}, "tool_choice"),
        ([function("w")], {"type": "code_interpreter"}, "tool_choice"),
        ([function("w")], "sometimes", "tool_choice"),
        (
            [INTERPRETER],
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "python"}]},
            "tool_choice",
        ),
        ([INTERPRETER], {"type": "allowed_tools", "mode": "never", "tools": [INTERPRETER]}, "tool_choice"),
        ([INTERPRETER], {"type": "allowed_tools"}, "tool_choice"),
        ([*map(function, INTERPRETER_NAMES), INTERPRETER], "auto", "tools"),
    ],
)
def test_what_cannot_be_had_is_a_400_that_names_it(tools: list[dict[str, Any]], choice: Any, param: str) -> None:
    with pytest.raises(RequestError) as refused:
        translate_tools(tools, choice)
    assert (refused.value.status, refused.value.param) == (400, param)
