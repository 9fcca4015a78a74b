"""/v1/sessions, over fakes."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.api.served import served


async def test_containers_are_not_listed_among_sessions(tmp_path: Path) -> None:
    async with served(tmp_path) as gateway, gateway.http() as http:
        session = (await http.post("/v1/sessions")).json()
        container = (await http.post("/v1/containers", json={"name": "c"})).json()
        assert (await http.get("/v1/sessions")).json()["data"] == [session]
        assert (await http.get("/v1/containers")).json()["data"] == [container]
        run_in_it = await http.post(f"/v1/sessions/{container['id']}/execute", json={"code": "1"})
        assert run_in_it.json()["session"] == container["id"]


@pytest.mark.parametrize("stream", [True, False])
async def test_half_characters_in_code_are_replaced(tmp_path: Path, stream: bool) -> None:
    async with served(tmp_path) as gateway, gateway.http() as http:
        id = (await http.post("/v1/sessions")).json()["id"]
        headers, body = {"content-type": "application/json"}, {"code": "'\ud83d'", "stream": stream}
        answer = await http.post(f"/v1/sessions/{id}/execute", content=json.dumps(body), headers=headers)
        assert '"ok"' in answer.text
        assert "internal_error" not in answer.text
        assert gateway.backend.used()[0].executed[-1].sources == ["'\ufffd'"]


async def ended_by_deletion(folder: Path, *, stream: bool) -> Any:
    """The answer to code in whose middle the session is deleted."""
    async with asyncio.timeout(10), served(folder) as gateway, gateway.http() as http:
        for worker in gateway.backend.workers:
            worker.hold = "slow"
        url = f"/v1/sessions/{(await http.post('/v1/sessions')).json()['id']}"
        running = asyncio.create_task(http.post(f"{url}/execute", json={"code": "slow()", "stream": stream}))
        worker = await gateway.backend.wait_running()
        await http.delete(url)
        worker.release.set()
        return await running


async def test_a_stream_whose_session_is_deleted_comes_to_its_end(tmp_path: Path) -> None:
    answer = await ended_by_deletion(tmp_path, stream=True)
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events][-4:] == ["exec.end", "code.end", "error", "done"]
    assert events[-2]["error"]["code"] == "sandbox_gone"
    assert events[-1]["finish_reason"] == "error"


async def test_an_answer_whose_session_is_deleted_is_an_error(tmp_path: Path) -> None:
    answer = await ended_by_deletion(tmp_path, stream=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "sandbox_gone")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", ["/v1/files", "/v1/containers/{id}/files", "/v1/sessions/{id}/files/x"])
async def test_a_client_that_leaves_in_the_middle_of_an_upload_is_no_failure_of_ours(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"--x", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        """Nobody listens."""

    async with served(tmp_path) as gateway, gateway.http() as http:
        id = (await http.post("/v1/containers", json={"name": "c"})).json()["id"]
        path = path.format(id=id)
        headers = [(b"authorization", b"Bearer ka"), (b"content-type", b"multipart/form-data; boundary=x")]
        scope = {"type": "http", "method": "PUT" if "sessions" in path else "POST", "headers": headers}
        place = {"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http"}
        await gateway.app({**scope, **place, "client": None, "server": None}, receive, send)
    # A busy machine holds the event loop, which its watchdog may tell.
    told = [record for record in caplog.records if record.name != "app.watchdog"]
    assert [record for record in told if record.levelno >= logging.WARNING] == []
