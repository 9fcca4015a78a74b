"""Every client SDK, unmodified and newest, sees what it would see of OpenAI."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.acceptance.sdks import SDKS, Client, Sdk, require_sdks, running
from tests.acceptance.test_repair import BEFORE, FAILING, PROGRAM
from tests.acceptance.upstream import Upstream

TOLD = "The tool said: r= 42 é😀\n42"
pytestmark = pytest.mark.sdks
STREAM = pytest.mark.parametrize("stream", [pytest.param(True, id="stream"), pytest.param(False, id="whole")])


@pytest.fixture(scope="module", params=SDKS, ids=str)
def client(request: pytest.FixtureRequest, gateway_url: str) -> Iterator[Client]:
    require_sdks()
    with running(request.param, gateway_url) as client:
        yield client


def only(sdks: list[Sdk]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("client", sdks, ids=str, indirect=True, scope="module")


@STREAM
def test_code_runs_in_the_gateway_and_the_client_sees_the_answer(
    client: Client, upstream: Upstream, stream: bool
) -> None:
    answer = client.do("chat", model="up-openai", prompt="Compute 6*7.", stream=stream)
    assert answer == {"text": TOLD, "calls": [], "tokens": 36}
    assert len(upstream.asked) == 2


@STREAM
def test_a_failing_program_is_repaired_unseen(client: Client, upstream: Upstream, stream: bool) -> None:
    answer = client.do("chat", model=f"halting/{len(BEFORE + FAILING) // 4 + 3}", prompt=PROGRAM, stream=stream)
    assert answer["text"].startswith("The tool said: began")
    assert answer["calls"] == []
    (call,) = upstream.bodies()[1]["messages"][-2]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"code": BEFORE + FAILING}


@only([sdk for sdk in SDKS if sdk.runs_tools])
@STREAM
@pytest.mark.parametrize(
    ("model", "told"),
    [("up-unknown-tool", "The tool said: sunny"), ("up-parallel-interleaved", "The tool said: A | sunny")],
    ids=["alone", "beside code"],
)
def test_the_clients_own_tool_is_run_by_the_client(client: Client, model: str, told: str, stream: bool) -> None:
    answer = client.do("converse", model=model, prompt="How is it in Paris?", stream=stream)
    assert answer["cities"] == ["Paris"]
    assert answer["text"].endswith(told)


def test_a_client_that_leaves_in_mid_stream_stops_the_upstream(client: Client, upstream: Upstream) -> None:
    answer = client.do("leave", model="prefaced/100", prompt="x = 1\n" * 1000)
    assert answer == {"text": "Let me compute."}
    (asked,) = upstream.asked
    assert asked.left.wait(10)


@only([sdk for sdk in SDKS if sdk.responses])
@STREAM
def test_responses_show_the_code_its_output_and_the_files_it_wrote(client: Client, stream: bool) -> None:
    link = "[out](sandbox:/mnt/data/out.csv)"
    code = f"open('out.csv', 'w').write('a,b\\n')\nprint('{link}')\n"
    answer = client.do("respond", model="program", prompt=code, stream=stream)
    files = {"out.csv": "a,b\n" if client.sdk.fetches_files else None}
    told = f"The tool said: {link}\n\n[Files: created out.csv (4 bytes)]"
    assert answer == {"text": told, "code": [code], "logs": [f"{link}\n"], "files": files}


@STREAM
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"model": "status-400"}, 400),
        ({"model": "up-openai", "key": "wrong"}, 401),
        ({"model": "status-429"}, 429),
    ],
    ids=["400", "401", "429"],
)
def test_an_error_is_of_the_class_that_the_sdk_has_for_it(
    client: Client, request_: dict[str, str], status: int, stream: bool
) -> None:
    error = client.do("chat", prompt="Compute 6*7.", stream=stream, **request_)["error"]
    assert client.sdk.errors[[400, 401, 429].index(status)] in error["classes"]
    assert error["status"] == status
