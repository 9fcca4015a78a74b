import pytest

from app.extraction.names import canonical_language, is_code_tool, runs_here


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
