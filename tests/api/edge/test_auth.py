"""Keys: parsing, finding, refusing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from fastapi import Depends, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.edge.auth import ANYONE, AuthMiddleware, Caller, Keyring, authenticate, split_keys
from app.api.edge.errors import install
from app.errors import RequestError
from tests.api.served import served

keys = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60).filter(
    lambda key: not key.startswith(("{", "[", "sha256:")) and "," not in key
)


@settings(deadline=None)
@given(st.lists(keys, min_size=1, max_size=6, unique=True), keys)
def test_exactly_the_configured_keys_are_found_plain_hashed_or_in_json(configured: list[str], other: str) -> None:
    forms = [lambda key: key, _hashed, lambda key: json.dumps({"key": key}), _json_hashed]
    ring = Keyring(forms[position % 4](key) for position, key in enumerate(configured))
    names = [caller.name for key in configured if (caller := ring.find(key))]
    assert len(set(names)) == len(configured)
    assert (ring.find(other) is not None) == (other in configured)


def _hashed(key: str) -> str:
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _json_hashed(key: str) -> str:
    return json.dumps({"sha256": hashlib.sha256(key.encode()).hexdigest()})


@settings(deadline=None)
@given(st.lists(keys, max_size=6))
def test_a_setting_is_split_the_same_as_a_list_and_as_json(entries: list[str]) -> None:
    assert split_keys(",".join(entries)) == split_keys(json.dumps(entries)) == tuple(entries)


@pytest.mark.parametrize("text", ["[", "{secret", '["a",]'])
def test_a_setting_that_begins_like_json_must_be_json(text: str) -> None:
    with pytest.raises(ValueError, match="line 1") as refused:
        split_keys(text)
    assert "secret" not in str(refused.value)


def test_a_setting_may_hold_objects() -> None:
    assert [json.loads(entry) for entry in split_keys('[{"key": "a"}, {"key": "b"}]')] == [{"key": "a"}, {"key": "b"}]
    assert json.loads(split_keys('{"key": "a"}')[0]) == {"key": "a"}


def test_a_key_in_json_carries_its_limits() -> None:
    entry = {"key": "k", "name": "app", "models": ["gpt-*"], "requests_per_minute": 5, "concurrency": 2}
    assert Keyring([json.dumps(entry)]).find("k") == Caller("app", ("gpt-*",), 5, 2)


def test_two_keys_may_share_a_name_for_the_change_of_keys_but_not_disagree() -> None:
    assert len(Keyring(['{"key": "old", "name": "app"}', '{"key": "new", "name": "app"}'])) == 2
    with pytest.raises(ValueError, match="other limits"):
        Keyring(['{"key": "old", "name": "app"}', '{"key": "new", "name": "app", "concurrency": 1}'])


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "sha256:abc",
        "two secretwords",
        "secretwörd",
        "{secret",
        "{}",
        '{"key": "secret", "sha256": "00"}',
        '{"key": "secret", "models": "x"}',
        '{"key": "secret", "colour": 1}',
        '{"key": "secret", "concurrency": 0}',
        '{"sha256": "secret"}',
    ],
)
def test_what_is_no_key_is_refused_without_showing_it(entry: str) -> None:
    with pytest.raises(ValueError, match="API key 1") as refused:
        Keyring([entry])
    assert "secret" not in str(refused.value)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_authorization_header_breaks_or_opens_it(header: str) -> None:
    with pytest.raises(RequestError) as refused:
        Keyring(["sk-right"]).authenticate(header.replace("sk-right", ""))
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")


def test_a_model_outside_of_the_keys_patterns_is_forbidden() -> None:
    caller = Caller("app", ("gpt-*", "base"))
    caller.require_model("gpt-9")
    caller.require_model("base")
    Caller("free").require_model("anything")
    with pytest.raises(RequestError) as refused:
        caller.require_model("o9")
    assert (refused.value.status, refused.value.code, refused.value.param) == (403, "permission_denied", "model")


def make_app(*entries: str) -> FastAPI:
    app = FastAPI()
    install(app)
    app.add_middleware(AuthMiddleware, keyring=Keyring(entries), prefix="/me")

    @app.get("/me")
    async def me(caller: Caller = Depends(authenticate)) -> str:  # noqa: B008
        return caller.name

    return app


async def get_me(app: FastAPI, authorization: str | None) -> httpx.Response:
    headers = {"authorization": authorization} if authorization else {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        return await client.get("/me", headers=headers)


async def test_the_dependency_lets_the_right_key_in_and_says_whose_it_is() -> None:
    app = make_app('{"key": "k", "name": "app"}')
    assert (await get_me(app, "Bearer k")).json() == "app"
    assert (await get_me(app, "bearer  k")).json() == "app"
    for wrong in (None, "Bearer", "Bearer wrong", "Basic k", "k"):
        response = await get_me(app, wrong)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["error"]["code"] == "invalid_api_key"


async def test_without_keys_everybody_is_let_in_whatever_they_send() -> None:
    assert (await get_me(make_app(), "Bearer anything")).json() == ANYONE.name


async def test_the_middleware_refuses_strangers_before_it_reads_their_body() -> None:
    app = FastAPI()
    app.add_middleware(AuthMiddleware, keyring=Keyring(["k"]))
    install(app)

    @app.post("/v1/echo")
    @app.post("/healthz")
    async def echo(body: dict[str, str]) -> dict[str, str]:
        return body

    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(b"{}")
        yield b"{}"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        refused = await client.post("/v1/echo", content=body())
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "invalid_api_key"
        assert read == []
        json_type = {"content-type": "application/json"}
        assert (await client.post("/healthz", content=body(), headers=json_type)).json() == {}
        headers = {"authorization": "Bearer k", **json_type}
        assert (await client.post("/v1/echo", content=body(), headers=headers)).json() == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"models": ["up-1", "forbidden"]},
        {"fallbacks": [{"up-1": ["forbidden"]}]},
        {"fallbacks": [{"model": "forbidden"}]},
        {"context_window_fallback_dict": {"up-1": "forbidden"}},
        {"model_name": "forbidden"},
    ],
)
def test_a_key_for_some_models_holds_for_every_field_that_names_one(fields: dict[str, Any]) -> None:
    limited = Caller("a", models=("up-*",))
    with pytest.raises(RequestError) as refused:
        limited.require_models(fields)
    assert refused.value.status == 403
    Caller("b").require_models(fields)
    limited.require_models(
        {"models": ["up-1"], "fallbacks": [{"model": "up-2", "temperature": 0}], "user": "forbidden"}
    )


async def test_a_request_is_authenticated_once(tmp_path: Path) -> None:
    with patch.object(Keyring, "authenticate", autospec=True, side_effect=Keyring.authenticate) as compared:
        async with served(tmp_path) as gateway, gateway.http() as http:
            answer = await http.post("/v1/files", files={"file": ("x", b"1")}, data={"purpose": "user_data"})
            assert answer.status_code == 200
            assert compared.call_count == 1
            assert (await http.get("/v1/files")).json()["data"] == [answer.json()]
            assert compared.call_count == 2


def test_a_key_ends_when_it_says_so() -> None:
    clock = iter([86_399.0, 86_399.0, 86_400.0, 86_400.0, 86_400.0])
    entries = [
        json.dumps({"key": "date", "name": "app", "expires": "1970-01-02"}),
        json.dumps({"key": "time", "name": "app", "expires": "1970-01-03T01:00:00+01:00"}),
    ]
    ring = Keyring(entries, clock=lambda: next(clock))
    for valid in ({"date", "time"}, {"time"}):
        assert {key for key in ("date", "time") if ring.find(key)} == valid
    with pytest.raises(RequestError, match="has expired") as refused:
        ring.authenticate("Bearer date")
    assert refused.value.status == 401


def test_keys_have_parts_of_everything_by_their_weights() -> None:
    ring = Keyring(
        ['{"key": "a", "name": "a"}', '{"key": "a2", "name": "a"}', '{"key": "b", "name": "b", "weight": 3}']
    )
    assert (ring.fraction("a"), ring.fraction("b"), ring.fraction("withdrawn")) == (0.25, 0.75, 0.25)
    assert Keyring().fraction("anyone") == Keyring(["k"]).fraction("key-x") == 1.0


def test_other_keys_that_are_none_change_nothing() -> None:
    ring = Keyring(["one"])
    with pytest.raises(ValueError, match="API key 2"):
        ring.replace(["two", "{}"])
    assert ring.find("one")
    ring.replace([])
    assert ring.is_open
    assert not Keyring(closed=True).is_open


@pytest.mark.parametrize(
    "limits",
    [{"weight": 0}, {"tokens_per_minute": 0}, {"expires": "soon"}, {"egress_allow": ["https://a.example"]}],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="API key 1"):
        Keyring([json.dumps({"key": "k", **limits})])
