"""Rendered answers of /v1/chat/completions, over fakes at both ends; what the model is asked is compared."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from app.errors import UpstreamRefused
from app.sandbox.worker.messages import Display, Output
from tests.api.served import Served, served

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\npicture").decode()
ALIAS = "m:eager"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as gateway:
        yield gateway


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def ask(gateway: Served, *messages: dict[str, Any], model: str = ALIAS, **fields: Any) -> str:
    """The text of an answer."""
    async with gateway.http() as http:
        answer = await http.post("/v1/chat/completions", json={"model": model, "messages": list(messages), **fields})
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == model
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def says(gateway: Served, *said: Output | Display, files: dict[str, bytes] | None = None) -> None:
    """What all code says and writes."""

    def prepare(worker: Any) -> None:
        worker.says = {"print": list(said)}
        worker.writes = {"print": files or {}}

    for worker in gateway.backend.workers:
        prepare(worker)
    gateway.backend.prepare = prepare


def one_turn(gateway: Served, words: str = "It is 1.") -> None:
    gateway.upstream.delta({"content": "Let me see."})
    gateway.upstream.code("print(", "1)")
    gateway.upstream.end_code()
    gateway.upstream.finish()
    gateway.upstream.delta({"content": words})
    gateway.upstream.finish("stop")


async def test_the_alias_shows_code_and_output_and_the_conversation_comes_back_as_it_was(gateway: Served) -> None:
    says(gateway, Output("stdout", "1\n"))
    one_turn(gateway)
    text = await ask(gateway, user("How many?"))
    assert "```python\nprint(1)\n```\n\n```text\n1\n```" in text
    first = gateway.upstream.requests[0]
    assert first["model"] == "m"
    assert [tool["function"]["name"] for tool in first["tools"]] == ["python"]
    one_turn(gateway)
    await ask(gateway, user("How many?"), {"role": "assistant", "content": text}, user("Sure?"))
    known = gateway.upstream.requests[1]["messages"]
    again = gateway.upstream.requests[2]["messages"]
    assert again == [*known, {"role": "assistant", "content": "It is 1."}, user("Sure?")]


async def test_the_next_question_of_a_conversation_runs_in_its_session(gateway: Served) -> None:
    one_turn(gateway)
    text = await ask(gateway, user("q"))
    one_turn(gateway)
    await ask(gateway, user("q"), {"role": "assistant", "content": text}, user("r"))
    one_turn(gateway)
    await ask(gateway, user("another"))
    assert sorted(len(worker.executed) for worker in gateway.backend.used()) == [2, 3]


async def test_a_figure_and_a_file_are_links_that_lead_to_them(gateway: Served) -> None:
    says(gateway, Display(1, {"image/png": PNG}), files={"a b.csv": b"1,2"})
    one_turn(gateway)
    text = await ask(gateway, user("q"))
    figure = re.search(r"!\[Figure 1\]\((http://gateway/v1/shared/\S+/figure-1\.png)\)", text)
    table = re.search(r"\[a b\\\.csv\]\((http://gateway/v1/shared/\S+/a%20b\.csv)\) \(3 bytes\)", text)
    assert figure is not None
    assert table is not None
    async with gateway.http("nobody's") as http:
        picture, file = await http.get(figure[1]), await http.get(table[1])
        altered = await http.get(figure[1].replace("/shared/", "/shared/x"))
        renamed = await http.get(figure[1].replace("figure-1", "figure-2"))
        part = await http.get(table[1], headers={"range": "bytes=1-"})
    assert (picture.content, picture.headers["content-type"]) == (base64.b64decode(PNG), "image/png")
    assert picture.headers["content-disposition"] == "inline"
    assert file.content == b"1,2"
    assert file.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in file.headers["content-security-policy"]
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b",2", "bytes 1-2/3")
    assert {altered.status_code, renamed.status_code} == {404}
    async with gateway.http() as http:
        await http.delete(table[1])
        assert (await http.get(table[1])).status_code == 404


async def test_links_end_with_the_session_that_they_are_of(gateway: Served) -> None:
    says(gateway, Display(1, {"image/png": PNG}))
    one_turn(gateway)
    link = re.search(r"\((http://gateway/v1/shared/\S+)\)", await ask(gateway, user("q")))
    assert link is not None
    async with gateway.http() as http:
        (session,) = (await http.get("/v1/sessions")).json()["data"]
        await http.delete(f"/v1/sessions/{session['id']}")
        assert (await http.get(link[1])).status_code == 404


async def test_a_link_ends_when_its_time_is_over(gateway: Served) -> None:
    says(gateway, Display(1, {"image/png": PNG}))
    one_turn(gateway)
    link = re.search(r"\((http://gateway/v1/shared/\S+)\)", await ask(gateway, user("q")))
    assert link is not None
    async with gateway.http() as http:
        lasting = int((await http.get(link[1])).headers["cache-control"].rpartition("max-age=")[2].split(",")[0])
        assert 0 < lasting <= 7 * 86400
        over = gateway.app.state.services.store.shared
        with patch.object(over, "_clock", lambda: time.time() + lasting + 1):
            gone = await http.get(link[1])
            assert (gone.status_code, gone.json()["error"]["code"]) == (404, "file_not_found")
            assert (await http.delete(link[1])).status_code == 404


async def test_another_owner_cannot_revoke_a_link(gateway: Served) -> None:
    says(gateway, Display(1, {"image/png": PNG}))
    one_turn(gateway)
    link = re.search(r"\((http://gateway/v1/shared/\S+)\)", await ask(gateway, user("q")))
    assert link is not None
    async with gateway.http("kb") as other:
        assert (await other.delete(link[1])).status_code == 404
        assert (await other.get(link[1])).status_code == 200


async def test_a_stream_shows_the_same_text(gateway: Served) -> None:
    says(gateway, Output("stdout", "1\n"))
    one_turn(gateway)
    whole = await ask(gateway, user("q"), model="m", eager={"render": "markdown", "code_tool": "always"})
    one_turn(gateway)
    stream = await gateway.sdk().chat.completions.create(
        model="m", messages=[{"role": "user", "content": "q"}], stream=True,
        extra_headers={"X-Eager-Render": "markdown", "X-Eager-Code-Tool": "always"},
    )  # fmt: skip
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert _without_ids(text) == _without_ids(whole)


def _without_ids(text: str) -> str:
    return re.sub(r"eager:[\w-]{12}", "eager:ID", text)


async def test_a_model_without_tools_is_told_to_write_fences(gateway: Served) -> None:
    says(gateway, Output("stdout", "1\n"))
    refusal = UpstreamRefused("model m does not support tools", status=400, type="invalid_request_error")
    gateway.upstream.refusals = [refusal]
    gateway.upstream.delta({"content": "So:\n```python\nprint(1)\n```\nRight."})
    gateway.upstream.finish("stop")
    gateway.upstream.delta({"content": "It is 1."})
    gateway.upstream.finish("stop")
    text = await ask(gateway, user("q"))
    _, asked, *_ = gateway.upstream.requests
    assert "tools" not in asked
    assert "```python" in asked["messages"][0]["content"]
    assert text.startswith("So:\n```python\nprint(1)\n```\n\n\n[//]:")
    assert text.count("print(1)") == 1
    assert "```text\n1\n```" in text


async def test_who_asks_for_json_is_not_shown_markdown(gateway: Served) -> None:
    gateway.upstream.delta({"content": '{"title": "x"}'})
    gateway.upstream.finish("stop")
    text = await ask(gateway, user("q"), response_format={"type": "json_object"})
    assert text == '{"title": "x"}'


async def test_models_are_listed_with_their_aliases(gateway: Served) -> None:
    gateway.upstream.model_list = {"object": "list", "data": [{"id": "a/b", "object": "model"}]}
    async with gateway.http() as http:
        assert [model["id"] for model in (await http.get("/v1/models")).json()["data"]] == ["a/b", "a/b:eager"]
        assert (await http.get("/v1/models/a/b:eager")).status_code == 200


async def test_a_key_that_may_use_a_model_may_use_its_alias_and_no_other(gateway: Served) -> None:
    one_turn(gateway)
    async with gateway.http("kb") as http:
        allowed = await http.post("/v1/chat/completions", json={"model": "m:eager", "messages": [user("q")]})
        refused = await http.post("/v1/chat/completions", json={"model": "x:eager", "messages": [user("q")]})
    assert (allowed.status_code, refused.status_code) == (200, 403)


async def test_a_tool_of_the_clients_own_is_not_reworded(gateway: Served) -> None:
    own = {"type": "function", "function": {"name": "python", "description": "Mine.", "parameters": {}}}
    one_turn(gateway)
    await ask(gateway, user("q"), tools=[own])
    assert gateway.upstream.requests[0]["tools"] == [own]
    one_turn(gateway)
    await ask(gateway, user("q"), eager={"hint": "off"})
    described = gateway.upstream.requests[2]["tools"][0]["function"]["description"]
    assert "main()" not in described


@pytest.mark.parametrize(
    ("path", "asked"), [("/v1/eager/completions", {"messages": [user("q")]}), ("/v1/responses", {"input": "q"})]
)
async def test_other_endpoints_take_an_alias_for_its_model(gateway: Served, path: str, asked: dict[str, Any]) -> None:
    gateway.upstream.delta({"content": "Hi."})
    gateway.upstream.finish("stop")
    async with gateway.http() as http:
        answer = await http.post(path, json={"model": ALIAS, **asked})
    assert answer.status_code == 200, answer.text
    assert gateway.upstream.requests[0]["model"] == "m"


async def test_two_answers_side_by_side_to_one_question_run_apart(gateway: Served) -> None:
    one_turn(gateway)
    text = await ask(gateway, user("q"))
    body = {"messages": [user("q"), {"role": "assistant", "content": text}, user("r")], "model": ALIAS}
    async with gateway.http() as http:
        (session,) = (await http.get("/v1/sessions")).json()["data"]
        async with gateway.registry.use(session["id"], owner="a"):
            with patch("app.api.chat.rendering.BUSY_S", 0):
                one_turn(gateway)
                answer = await http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert len(gateway.backend.used()) == 2


async def test_the_tools_of_a_front_end_are_left_out_where_the_model_knows_none(gateway: Served) -> None:
    gateway.upstream.refusals = [UpstreamRefused("no tools here", status=400, type="invalid_request_error")]
    gateway.upstream.delta({"content": "Hi."})
    gateway.upstream.finish("stop")
    own = {"type": "function", "function": {"name": "search", "parameters": {}}}
    assert await ask(gateway, user("q"), tools=[own]) == "Hi."
    assert "tools" not in gateway.upstream.requests[1]


async def test_a_front_end_that_wants_its_tool_called_is_told_that_the_model_knows_none(gateway: Served) -> None:
    gateway.upstream.refusals = [UpstreamRefused("no tools here", status=400, type="invalid_request_error")]
    own = {"type": "function", "function": {"name": "search", "parameters": {}}}
    body = {"model": ALIAS, "messages": [user("q")], "tools": [own], "tool_choice": "required"}
    async with gateway.http() as http:
        assert (await http.post("/v1/chat/completions", json=body)).status_code == 400


@pytest.mark.parametrize(
    ("path", "asked"), [("eager/completions", {"messages": [user("q")]}), ("responses", {"input": "q"})]
)
@pytest.mark.parametrize(("hint", "told"), [("auto", True), ("off", False)])
async def test_the_interpreter_is_described_with_the_hint_on_the_other_endpoints_too(
    gateway: Served, path: str, asked: dict[str, Any], hint: str, told: bool
) -> None:
    gateway.upstream.delta({"content": "Hi."})
    gateway.upstream.finish("stop")
    tool = {"type": "code_interpreter", "container": {"type": "auto"}}
    async with gateway.http() as http:
        body = {"model": "m", **asked, "tools": [tool], "eager": {"hint": hint}}
        assert (await http.post(f"/v1/{path}", json=body)).status_code == 200
    assert ("main()" in gateway.upstream.requests[0]["tools"][0]["function"]["description"]) is told
