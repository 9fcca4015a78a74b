import pytest
from pydantic import ValidationError

from app.config import Settings, unknown_variables
from tests.documentation.settings import GROUPS, documented, settings_by_group


def test_every_setting_is_documented_in_a_group() -> None:
    """``python -m tests.documentation.settings`` writes the page anew."""
    assert documented() == settings_by_group()
    assert set(GROUPS) <= set(Settings.model_fields)


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


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("API_KEYS", "sha256:12", "64 hexadecimal digits"),
        ("API_KEYS", '[{"key": "one", "concurrency": 0}]', ">= 1"),
        ("API_KEYS", '["one", null]', "API key 2: a text or an object"),
        ("CORS_ORIGINS", "https://app.example/", "no origin"),
        ("CORS_ORIGINS", "app.example", "no origin"),
        ("CPUS", "inf", "finite"),
        ("CPUS", "0.0001", "greater than or equal to 0.01"),
        ("DOCKER_HOST", "tcp://a:2376,tcp://a:2376", "named twice"),
        ("JUPYTER_URL", "127.0.0.1:8888", "http://"),
        ("PROCESSES", str(10**20), "less than or equal"),
        ("SESSION_IDLE_S", "inf", "finite"),
        ("UPSTREAM_API_KEY", "one\ntwo", "control characters"),
        ("UPSTREAM_BASE_URL", "localhost:8000/v1", "http://"),
        ("UPSTREAM_BASE_URL", "http://", "http://"),
        ("UPSTREAM_BASE_URL", "http://llm.example:99999/v1", "Port"),
        ("UPSTREAM_BASE_URL", "http://[::1/v1", "IPv6"),
        ("UPSTREAM_BASE_URL", "https://llm.example/v1?api-version=1", "no '\\?'"),
        ("WORK_MB", str(10**17), "less than or equal"),
    ],
)
def test_what_makes_no_sense_is_refused_at_the_start(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"EAGER_{name}", value)
    with pytest.raises(ValidationError, match=message) as caught:
        Settings()
    assert caught.value.errors()[0]["loc"] == (name.lower(),)
    assert "input_value" not in str(caught.value)  # it may be a key


def test_a_secret_may_end_with_the_newline_of_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAGER_UPSTREAM_API_KEY", "one\n")
    monkeypatch.setenv("EAGER_UPSTREAM_BASE_URL", "http://llm.example/v1\n")
    settings = Settings()
    assert settings.upstream_api_key is not None
    assert settings.upstream_api_key.get_secret_value() == "one"
    assert settings.upstream_base_url == "http://llm.example/v1"


@pytest.mark.parametrize("origin", ["*", "null", "https://app.example", "http://localhost:3000", "app+x.y-z://id"])
def test_origins_are_taken_as_browsers_send_them(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAGER_CORS_ORIGINS", origin)
    assert Settings().cors_origins == (origin,)


def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAGER_SANDBOX", "vm")
    with pytest.raises(ValidationError, match="sandbox"):
        Settings()


def test_variables_that_are_no_settings_are_found_with_what_was_meant() -> None:
    names = [
        "EAGER_POOLSIZE",
        "eager_pool_size",
        "EAGER_DOMAIN",
        "EAGER_FULL",
        "EAGER_TEST_X",
        "EAGER_BENCH_KEY",
        "HOME",
    ]
    assert unknown_variables(names) == ["EAGER_DOMAIN", "EAGER_POOLSIZE (did you mean EAGER_POOL_SIZE?)"]
    assert unknown_variables(f"EAGER_{name.upper()}" for name in Settings.model_fields) == []
