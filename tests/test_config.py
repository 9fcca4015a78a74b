import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.config import Settings, settings_table

README = Path(__file__).parents[1] / "README.md"


def test_the_readme_documents_every_setting() -> None:
    documented = re.search(r"<!-- settings -->\n(.*?)<!-- /settings -->", README.read_text(), re.DOTALL)
    assert documented is not None
    assert documented[1] == settings_table()


def test_lists_come_from_comma_separated_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAGER_API_KEYS", "one, two,")
    monkeypatch.setenv("EAGER_PRELOAD", "")
    settings = Settings()
    assert settings.api_keys == ("one", "two")
    assert settings.preload == ()


def test_keys_with_limits_come_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAGER_API_KEYS", '[{"key": "one", "models": ["a", "b"]}, "two"]')
    assert Settings().api_keys == ('{"key": "one", "models": ["a", "b"]}', "two")


def test_an_empty_variable_is_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAGER_UPSTREAM_BASE_URL", "")
    assert Settings().upstream_base_url is None


def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAGER_SANDBOX", "vm")
    with pytest.raises(ValidationError, match="sandbox"):
        Settings()
