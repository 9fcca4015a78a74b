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


def test_a_rule_for_the_way_out_that_cannot_be_understood_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAGER_EGRESS_ALLOW", "pypi.example, *.internal.example:443, 10.0.0.0/8:*")
    assert Settings().egress_allow == ("pypi.example", "*.internal.example:443", "10.0.0.0/8:*")
    monkeypatch.setenv("EAGER_EGRESS_ALLOW", "pypi.example,https://pypi.example")
    with pytest.raises(ValidationError, match=r"https://pypi\.example"):
        Settings()


def test_several_engines_come_as_a_list_and_none_is_dockers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAGER_DOCKER_HOST", "")
    assert Settings().docker_host == ()
    monkeypatch.setenv("EAGER_DOCKER_HOST", "unix:///a.sock, tcp://b:2376")
    monkeypatch.setenv("EAGER_DOCKER_ENGINE_LIMIT", "")
    assert Settings().docker_host == ("unix:///a.sock", "tcp://b:2376")
    assert Settings().docker_engine_limit is None


def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAGER_SANDBOX", "vm")
    with pytest.raises(ValidationError, match="sandbox"):
        Settings()
