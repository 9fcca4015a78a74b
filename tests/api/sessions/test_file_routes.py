"""/v1/sessions/{id}/files: the work folder by path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.served import MAX_FILE_BYTES, served


async def test_files_are_put_listed_fetched_and_removed(tmp_path: Path) -> None:
    async with served(tmp_path) as gateway, gateway.http() as http:
        url = f"/v1/sessions/{(await http.post('/v1/sessions')).json()['id']}/files"
        put = await http.put(f"{url}/sub/a é.csv", content=b"1,2\n")
        assert put.json() == {"path": "sub/a é.csv", "object": "session.file", "bytes": 4}
        listed = (await http.get(url)).json()
        assert [(file["path"], file["bytes"]) for file in listed["data"]] == [("sub/a é.csv", 4)]
        got = await http.get(f"{url}/sub/a é.csv")
        assert got.content == b"1,2\n"
        assert got.headers["content-type"] == "application/octet-stream"
        assert "a%20%C3%A9.csv" in got.headers["content-disposition"]
        assert (await http.delete(f"{url}/sub/a é.csv")).json()["deleted"] is True
        for gone in (await http.get(f"{url}/sub/a é.csv"), await http.delete(f"{url}/sub/a é.csv")):
            assert gone.status_code == 404
            assert gone.json()["error"]["code"] == "file_not_found"


async def test_a_name_with_line_breaks_is_one_like_others(tmp_path: Path) -> None:
    async with served(tmp_path) as gateway, gateway.http() as http:
        url = f"/v1/sessions/{(await http.post('/v1/sessions')).json()['id']}/files"
        assert (await http.put(f"{url}/a%0D%0Ab%0A", content=b"1")).json()["path"] == "a\r\nb\n"
        assert [file["path"] for file in (await http.get(url)).json()["data"]] == ["a\r\nb\n"]
        got = await http.get(f"{url}/a%0D%0Ab%0A")
        assert (got.status_code, got.content) == (200, b"1")
        assert "a%0D%0Ab%0A" in got.headers["content-disposition"]
        assert (await http.delete(f"{url}/a%0D%0Ab%0A")).json()["deleted"] is True


async def test_an_execution_tells_which_files_it_has_written(tmp_path: Path) -> None:
    async with served(tmp_path) as gateway, gateway.http() as http:
        for worker in gateway.backend.workers:
            worker.writes = {"save": {"out.csv": b"1,2\n", ".cache/x": b""}}
        url = f"/v1/sessions/{(await http.post('/v1/sessions')).json()['id']}"
        await http.put(f"{url}/files/in.csv", content=b"1")
        answers = [(await http.post(f"{url}/execute", json={"code": code})).json() for code in ("save()", "save()")]
        assert [answer["files"] for answer in answers] == [[{"path": "out.csv", "change": "created", "bytes": 4}], []]


async def test_what_the_folder_does_not_take_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as gateway, gateway.http() as http:
        url = f"/v1/sessions/{(await http.post('/v1/sessions')).json()['id']}/files"
        assert (await http.put(f"{url}/%2e%2e/x", content=b"")).status_code == 400
        large = await http.put(f"{url}/x", content=bytes(MAX_FILE_BYTES + 1))
        assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")
        assert gateway.backend.used() == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_the_files_of_others_do_not_exist(tmp_path: Path, method: str) -> None:
    async with served(tmp_path) as gateway, gateway.http("ka") as mine, gateway.http("kb") as theirs:
        id = (await mine.post("/v1/sessions")).json()["id"]
        answer = await theirs.request(method, f"/v1/sessions/{id}/files/x")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "session_not_found")
