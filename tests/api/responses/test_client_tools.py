"""Tools of the client's, as an upstream is told of them, and its calls as items of their kinds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.responses.client_items import as_function_item
from app.api.responses.client_tools import MAX_NAME_CHARS, ClientTool, ClientTools, loaded_tools
from app.api.responses.tools import translate_tools
from app.errors import RequestError
from app.events import ToolCall

Json = dict[str, Any]
LARK = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
#: As Codex CLI and the Agents SDK declare them.
AGENTS_TOOLS: list[Json] = [
    {"type": "function", "name": "exec_command", "strict": False, "parameters": {"type": "object"}},
    {"type": "custom", "name": "apply_patch", "description": "Edits.", "format": LARK},
    {
        "type": "namespace",
        "name": "multi_agent_v1",
        "description": "Sub-agents.",
        "tools": [
            {"type": "function", "name": "spawn_agent", "parameters": {"type": "object"}, "defer_loading": True},
            {"type": "custom", "name": "note"},
        ],
    },
    {"type": "namespace", "name": "mcp__files__", "tools": [{"type": "function", "name": "read"}]},
    {"type": "shell", "environment": {"type": "local"}},
    {"type": "local_shell"},
    {"type": "apply_patch"},
    {"type": "tool_search", "execution": "client", "parameters": {"type": "object"}},
    {"type": "code_interpreter"},
    {"type": "web_search", "external_web_access": False},
    {"type": "mcp", "server_label": "x", "server_url": "https://x.example"},
    {"type": "shell", "environment": {"type": "container_auto"}},
    {"type": "tool_search"},
    {"type": "of_next_year"},
]
NAMES = [
    "exec_command",
    "apply_patch",
    "multi_agent_v1__spawn_agent",
    "multi_agent_v1__note",
    "mcp__files__read",
    "shell",
    "local_shell",
    "apply_patch_2",
    "tool_search",
    "python",
]


def names(tools: list[Json]) -> list[str]:
    return [tool["function"]["name"] for tool in tools]


def item_of(name: str, arguments: str, *, tools: list[Json] = AGENTS_TOOLS, **fields: Any) -> Json:
    clients = translate_tools(tools, "auto").clients
    drafts, item = clients.call_item("1_0", ToolCall(id="call_1", name=name, arguments=arguments, **fields))
    assert drafts[0][0] == "response.output_item.added"
    assert drafts[0][1]["item"].keys() == item.keys()
    return item


def test_what_the_client_runs_is_told_as_functions_and_services_are_left_out_with_a_warning() -> None:
    tools = translate_tools(AGENTS_TOOLS, "auto")
    assert names(tools.upstream) == NAMES
    assert [(warning["code"], warning["param"]) for warning in tools.warnings] == [
        ("tool_unavailable", f"tools.{position}") for position in range(9, 14)
    ]
    assert "'web_search'" in tools.warnings[0]["message"]


@pytest.mark.parametrize("tool", AGENTS_TOOLS[9:], ids=str)
def test_services_are_refused_where_the_deployment_says_so(tool: Json) -> None:
    with pytest.raises(RequestError) as refused:
        translate_tools([tool], "auto", refuse=True)
    assert (refused.value.param, refused.value.code) == ("tools.0.type", "unsupported_parameter")


def test_a_custom_tool_is_a_function_of_one_text_that_is_told_of_its_grammar() -> None:
    function = translate_tools(AGENTS_TOOLS, "auto").upstream[1]["function"]
    assert function["description"].startswith("Edits.")
    assert "(lark):\nstart: WORD" in function["description"]
    assert function["parameters"]["required"] == ["input"]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("exec_command", '{"cmd": "ls"}', {"type": "function_call", "name": "exec_command"}),
        (
            "multi_agent_v1__spawn_agent",
            "{}",
            {"type": "function_call", "name": "spawn_agent", "namespace": "multi_agent_v1"},
        ),
        ("multi_agent_v1.spawn_agent", "{}", {"name": "spawn_agent", "namespace": "multi_agent_v1"}),
        ("spawn_agent", "{}", {"name": "spawn_agent", "namespace": "multi_agent_v1"}),
        ("mcp__files__read", "{}", {"name": "read", "namespace": "mcp__files__"}),
        ("apply_patch", '{"input": "a\\nb"}', {"type": "custom_tool_call", "name": "apply_patch", "input": "a\nb"}),
        ("apply_patch", '{"patch": "a"}', {"input": "a"}),
        ("apply_patch", '"a"', {"input": "a"}),
        ("apply_patch", "*** Begin", {"input": "*** Begin"}),
        ("apply_patch", '{"input": 1}', {"input": '{"input": 1}'}),
        ("multi_agent_v1__note", '{"input": ""}', {"name": "note", "namespace": "multi_agent_v1", "input": ""}),
        (
            "shell",
            '{"commands": ["ls", "pwd"], "timeout_ms": 9}',
            {
                "type": "shell_call",
                "action": {"commands": ["ls", "pwd"], "timeout_ms": 9, "max_output_length": None},
            },
        ),
        ("shell", '{"command": "ls"}', {"action": {"commands": ["ls"], "timeout_ms": None, "max_output_length": None}}),
        (
            "local_shell",
            '{"command": "ls", "env": {"A": "b"}, "timeout_ms": true}',
            {
                "type": "local_shell_call",
                "action": {
                    "type": "exec",
                    "command": ["bash", "-lc", "ls"],
                    "env": {"A": "b"},
                    "timeout_ms": None,
                    "working_directory": None,
                    "user": None,
                },
            },
        ),
        (
            "apply_patch_2",
            '{"type": "create_file", "path": "a", "diff": "+x"}',
            {"type": "apply_patch_call", "operation": {"type": "create_file", "path": "a", "diff": "+x"}},
        ),
        (
            "apply_patch_2",
            '{"operation": {"type": "delete_file", "path": "a"}}',
            {"operation": {"type": "delete_file", "path": "a"}},
        ),
        ("apply_patch_2", "broken", {"operation": {"type": "update_file", "path": "", "diff": "broken"}}),
        (
            "tool_search",
            '{"query": "mail"}',
            {"type": "tool_search_call", "execution": "client", "arguments": {"query": "mail"}},
        ),
        ("unknown", "{}", {"type": "function_call", "name": "unknown"}),
    ],
)
def test_a_call_is_an_item_of_its_tools_kind(name: str, arguments: str, expected: Json) -> None:
    item = item_of(name, arguments)
    assert {key: item[key] for key in expected} == expected
    assert ("namespace" in item) == ("namespace" in expected)
    assert (item["call_id"], item["status"]) == ("call_1", "completed")


def test_a_custom_call_of_the_upstreams_own_is_one_here() -> None:
    assert item_of("apply_patch", "{", kind="custom")["input"] == "{"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("exec_command", '{"cmd": "ls"}'),
        ("multi_agent_v1__spawn_agent", '{"message": "go"}'),
        ("apply_patch", '{"input": "é\\n"}'),
        ("multi_agent_v1__note", '{"input": "x"}'),
        ("shell", '{"commands": ["ls"], "timeout_ms": 9}'),
        ("local_shell", '{"command": ["ls"], "env": {}, "working_directory": "/x"}'),
        ("apply_patch_2", '{"type": "update_file", "path": "a", "diff": "-x"}'),
        ("tool_search", '{"query": "mail"}'),
    ],
)
def test_an_item_that_comes_back_is_the_call_that_it_was(name: str, arguments: str) -> None:
    clients = translate_tools(AGENTS_TOOLS, "auto").clients
    item = as_function_item(item_of(name, arguments), clients)
    assert (item["type"], item["call_id"], item["name"]) == ("function_call", "call_1", name)
    assert json.loads(item["arguments"]) == json.loads(arguments)


@pytest.mark.parametrize(
    ("item", "output"),
    [
        ({"type": "custom_tool_call_output", "output": "ok"}, "ok"),
        ({"type": "custom_tool_call_output", "output": [{"type": "input_text", "text": "x"}]}, None),
        ({"type": "apply_patch_call_output", "status": "failed", "output": "no such file"}, "failed\nno such file"),
        ({"type": "apply_patch_call_output", "status": "completed"}, "completed"),
        ({"type": "local_shell_call_output", "output": '{"stdout": "x"}'}, '{"stdout": "x"}'),
        (
            {
                "type": "shell_call_output",
                "output": [
                    {"stdout": "a\n", "stderr": "b\n", "outcome": {"type": "exit", "exit_code": 2}},
                    {"stdout": "c\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}},
                    {"stdout": "", "stderr": "", "outcome": {"type": "timeout"}},
                ],
            },
            "a\nb\n[exit code 2]\nc\n[The time limit was reached.]",
        ),
        ({"type": "tool_search_output", "tools": [{"type": "function", "name": "f"}]}, None),
    ],
)
def test_what_a_call_was_answered_is_a_functions_output(item: Json, output: str | None) -> None:
    told = as_function_item({"call_id": "call_1", **item}, ClientTools())
    assert (told["type"], told["call_id"]) == ("function_call_output", "call_1")
    assert output is None or told["output"] == output


def test_the_output_of_a_local_shell_may_name_its_call_as_its_own_id() -> None:
    told = as_function_item({"type": "local_shell_call_output", "id": "call_9", "output": ""}, ClientTools())
    assert told["call_id"] == "call_9"


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"type": "custom", "name": "apply_patch"}, "apply_patch"),
        ({"type": "apply_patch"}, "apply_patch_2"),
        ({"type": "shell"}, "shell"),
        ({"type": "local_shell"}, "local_shell"),
        ({"type": "function", "name": "spawn_agent", "namespace": "multi_agent_v1"}, "multi_agent_v1__spawn_agent"),
    ],
)
def test_a_choice_of_any_kind_names_the_function(choice: Json, name: str) -> None:
    assert translate_tools(AGENTS_TOOLS, choice).choice == {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "custom", "name": "exec_command"},
        {"type": "function", "name": "apply_patch"},
        {"type": "web_search"},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "made_up"}]},
    ],
)
def test_a_choice_of_what_is_not_there_is_a_400(choice: Json) -> None:
    with pytest.raises(RequestError) as refused:
        translate_tools(AGENTS_TOOLS, choice)
    assert refused.value.param == "tool_choice"


def test_of_a_namespace_that_is_allowed_all_tools_are() -> None:
    allowed = [{"type": "namespace", "name": "multi_agent_v1"}, {"type": "custom", "name": "apply_patch"}]
    tools = translate_tools(AGENTS_TOOLS, {"type": "allowed_tools", "mode": "auto", "tools": allowed})
    assert names(tools.upstream) == ["apply_patch", "multi_agent_v1__spawn_agent", "multi_agent_v1__note"]


def test_tools_that_a_search_has_found_are_declared_once() -> None:
    found = {"type": "namespace", "name": "mail", "tools": [{"type": "function", "name": "send"}]}
    items = [
        {"type": "tool_search_output", "tools": [found]},
        {"type": "additional_tools", "tools": [found, {"type": "function", "name": "f"}]},
        {"type": "message", "tools": [found]},
    ]
    tools = translate_tools([], "auto", loaded=loaded_tools(items))
    assert names(tools.upstream) == ["mail__send", "f"]


def test_a_function_keeps_its_name_wherever_it_stands() -> None:
    namespace = {"type": "namespace", "name": "a", "tools": [{"type": "function", "name": "b"}]}
    tools = translate_tools([namespace, {"type": "function", "name": "a__b"}], "auto")
    assert names(tools.upstream) == ["a__b_2", "a__b"]
    assert tools.clients.meant_by("a__b") == ClientTool("function", "a__b")
    assert tools.clients.meant_by("a__b_2") == ClientTool("function", "b", "a")


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "namespace", "tools": []}, "tools.0.name"),
        ({"type": "namespace", "name": "a"}, "tools.0.tools"),
        ({"type": "namespace", "name": "a", "tools": [1]}, "tools.0.tools.0.type"),
        ({"type": "namespace", "name": "a", "tools": [{"type": "namespace"}]}, "tools.0.tools.0.type"),
        ({"type": "namespace", "name": "a", "tools": [{"type": "function"}]}, "tools.0.tools.0.name"),
        ({"type": "custom", "name": ""}, "tools.0.name"),
        ({"type": "namespace", "name": "a", "tools": [{"type": "custom", "name": "b"}] * 1025}, None),
        (
            {"type": "namespace", "name": "a", "tools": [{"type": "custom", "name": f"b{i}"} for i in range(1025)]},
            "tools",
        ),
    ],
)
def test_a_tool_that_is_not_well_formed_is_a_400_that_says_where(tool: Json, param: str | None) -> None:
    if param is None:  # the same tool, said again and again
        assert len(translate_tools([tool], "auto").upstream) == 1
        return
    with pytest.raises(RequestError) as refused:
        translate_tools([tool], "auto")
    assert refused.value.param == param


@given(st.lists(st.tuples(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80)), max_size=6, unique=True))
def test_every_tool_of_a_namespace_has_a_name_of_its_own_that_upstreams_take(pairs: list[tuple[str, str]]) -> None:
    tools = [{"type": "namespace", "name": ns, "tools": [{"type": "custom", "name": name}]} for ns, name in pairs]
    translated = translate_tools(tools, "auto")
    given_names = names(translated.upstream)
    assert len(set(given_names)) == len(pairs)
    assert all(
        len(name) <= MAX_NAME_CHARS and name.replace("_", "").replace("-", "").isalnum()
        for name in given_names
        if name.strip("_-")
    )
    for name, (namespace, tool) in zip(given_names, pairs, strict=True):
        assert translated.clients.meant_by(name) == ClientTool("custom", tool, namespace)
