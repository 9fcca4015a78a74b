"""Which argument of a tool holds the code, as its schema tells, so that it is streamed under whatever name."""

from __future__ import annotations

from typing import Any

import pytest

from app.extraction.arguments import code_key
from app.extraction.deltas import Delta
from app.extraction.turn import TurnReader
from app.extraction.turn_items import CodeText
from tests.extraction.test_turn import call, calls

TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("tool", "properties", "required", "key"),
    [
        ("LangChain PythonAstREPLTool", {"query": TEXT}, ["query"], "query"),
        ("LangChain PythonREPLTool", {"__arg1": TEXT}, ["__arg1"], "__arg1"),
        ("smolagents", {"code": TEXT}, ["code"], "code"),
        ("Open Interpreter", {"language": {"type": "string", "enum": ["python"]}, "code": TEXT}, [], "code"),
        ("LibreChat", {"lang": TEXT, "code": TEXT, "args": {"type": "array"}}, ["lang", "code"], "code"),
        ("Anthropic", {"code": TEXT}, [], "code"),
        ("pydantic, optional", {"program": {"anyOf": [TEXT, {"type": "null"}]}}, [], "program"),
        ("several types", {"program": {"type": ["string", "null"]}, "timeout": {"type": "number"}}, [], "program"),
        ("nothing is said", {"program": {}}, [], "program"),
        ("only one is needed", {"program": TEXT, "title": TEXT}, ["program"], "program"),
        ("a choice is no code", {"mode": {"type": "string", "enum": ["a"]}, "program": TEXT}, [], "program"),
        ("the better name", {"query": TEXT, "code": TEXT}, [], "code"),
        ("two could be", {"program": TEXT, "title": TEXT}, [], None),
        ("two are needed", {"program": TEXT, "title": TEXT}, ["program", "title"], None),
        ("no text", {"seconds": {"type": "number"}}, [], None),
    ],
)
def test_a_schema_tells_the_argument(tool: str, properties: dict[str, Any], required: list[str], key: str) -> None:
    assert code_key({"type": "object", "properties": properties, "required": required}) == key


@pytest.mark.parametrize("schema", [{}, {"properties": []}, {"properties": {"a": 1}}, {"properties": None}])
def test_what_is_no_schema_tells_nothing(schema: dict[str, Any]) -> None:
    assert code_key(schema) is None


def test_an_argument_that_is_known_is_code_at_once() -> None:
    for keys, at_once in (({}, False), ({"python_repl": "query"}, True)):
        reader = TurnReader(new_id=str, code_keys=keys)
        items = reader.feed(calls(call(0, "a", "Python_REPL", '{"query": "x = 1\\n')))
        assert any(isinstance(item, CodeText) for item in items) is at_once
        items += reader.feed(calls(call(0, arguments='y"}'))) + reader.flush()
        assert "".join(item.text for item in items if isinstance(item, CodeText)) == "x = 1\ny"


def test_the_model_may_use_another_argument_than_the_schema_tells() -> None:
    reader = TurnReader(new_id=str, code_keys={"python": "query"})
    items = reader.feed(calls(call(0, "a", "python", '{"code": "x"}'))) + reader.flush()
    assert [item.text for item in items if isinstance(item, CodeText)] == ["x"]


def test_the_name_of_a_tool_is_the_first_sign_of_code() -> None:
    reader = TurnReader(new_id=str)
    reader.feed(calls(call(0, "a", "get_weather", "{}")))
    assert not reader.expects_code
    reader.feed(calls(call(1, "b", "python", "")))
    assert reader.expects_code


def test_so_is_the_opening_of_a_fence() -> None:
    reader = TurnReader(new_id=str)
    reader.feed(Delta(content="So:\n```"))
    assert not reader.expects_code
    reader.feed(Delta(content="python\n"))
    assert reader.expects_code
