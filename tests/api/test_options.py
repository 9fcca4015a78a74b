"""Options in headers."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.api.options import with_headers
from app.api.schemas import EagerOptions
from app.errors import RequestError
from tests.api.served import served


def test_values_are_json_or_plain_words_and_the_body_wins() -> None:
    headers = {"x-eager-mode": "serial", "x-eager-max-turns": "4", "x-eager-sources": "tool, fence", "other": "1"}
    options = with_headers(EagerOptions(max_turns=2), headers)
    assert options == EagerOptions(mode="serial", max_turns=2, sources=["tool", "fence"])


@pytest.mark.parametrize(
    ("name", "value"),
    [("tools", "[" * 20_000), ("mode", "[" * 20_000), ("mode", "lazy"), ("colour", "1"), ("max-turns", "9" * 5000)],
)
def test_a_wrong_value_or_an_unknown_name_is_refused(name: str, value: str) -> None:
    with pytest.raises(RequestError) as error:
        with_headers(EagerOptions(), {f"x-eager-{name}": value})
    assert error.value.status == 400
    assert error.value.param == f"eager.{name.replace('-', '_')}"


async def test_a_header_that_is_nested_too_deeply_is_a_400(tmp_path: Path) -> None:
    async with served(tmp_path) as gateway, gateway.http() as http:
        body = {"model": "m", "messages": [{"role": "user", "content": "Go."}]}
        answer = await http.post("/v1/chat/completions", json=body, headers={"x-eager-tools": "[" * 20_000})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "eager.tools"
