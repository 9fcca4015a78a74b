import pytest

from app.extraction.names import (
    canonical_language,
    canonical_tool,
    declared_tools,
    is_code_tool,
    meant_tool,
    runs_here,
)


@pytest.mark.parametrize("name", ["python", "Python", "functions.python", "Python_REPL", "EXECUTE_CODE", " ipython "])
def test_code_tools_are_known_by_any_spelling(name: str) -> None:
    assert is_code_tool(name)


@pytest.mark.parametrize("name", ["", "get_weather", "python2", "my.python"])
def test_other_tools_are_not_ours(name: str) -> None:
    assert not is_code_tool(name)


def test_the_names_can_be_chosen() -> None:
    assert is_code_tool("functions.Run", {"run"})
    assert not is_code_tool("python", {"run"})


def test_languages_are_told_apart() -> None:
    assert [canonical_language(name) for name in ("", "Py", "python3", "sh", "Bash", "JavaScript")] == [
        "python", "python", "python", "bash", "bash", "javascript",
    ]  # fmt: skip
    assert runs_here("bash")
    assert not runs_here("javascript")


@pytest.mark.parametrize(
    "name",
    [
        "python<|channel|>commentary",
        "python<|constrain|>json",
        "assistant<|channel|>commentary to=functions.python <|constrain|>json",
        "commentary to=python",
        "functions.python:0",
        "functions.python#12",
        "functions/python",
        "functions::python",
        "functions__python",
        "tools.python",
        "default_api.python",
        "default_api:python",
        "python<｜tool▁sep｜>python",
        "python\n<arg_key>code</arg_key>",
        '"python"',
        "`python`",
        "python()",
        "python({",
        " python,\n",
    ],
)
def test_what_chat_templates_leave_around_a_name_is_left_out(name: str) -> None:
    assert canonical_tool(name) == "python"


@pytest.mark.parametrize(
    "name", ["", "<|python|>", "functions.", "::", "get_weather", "python2", "my.python", "x" * 300]
)
def test_what_is_no_decoration_stays(name: str) -> None:
    assert canonical_tool(name) == name


def test_a_call_means_a_tool_that_was_declared() -> None:
    assert meant_tool("mine.Get:1", {"get", "Get"}) == "Get"
    assert meant_tool("mine.get", {"mine.get", "get"}) == "mine.get"
    assert meant_tool("mine.python", {"python"}) == "python"
    assert meant_tool("mine.python", set()) == "mine.python"
    assert meant_tool("functions.other", {"get"}) == "functions.other"
    assert meant_tool("functions.PYTHON", {"Python"}) == "Python"


def test_the_names_of_a_request_are_those_of_well_formed_tools() -> None:
    named = [{"type": "function", "function": {"name": "get"}}, {"type": "custom", "custom": {"name": "patch"}}]
    odd = [3, {}, {"type": []}, {"type": "function"}, {"type": "function", "function": {"name": 3}}]
    assert declared_tools([*odd, *named]) == {"get", "patch"}
    assert declared_tools({}) == declared_tools(None) == frozenset()
