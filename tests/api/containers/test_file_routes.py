"""/v1/containers/{id}/files: what clients put there, and what code wrote."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.api.served import MAX_FILE_BYTES, Served, served
from tests.fakes.worker import FakeWorker


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as gateway:
        yield gateway


@pytest.fixture
async def container_id(gateway: Served) -> str:
    return (await gateway.sdk().containers.create(name="c")).id


def worker_of(gateway: Served) -> FakeWorker:
    (worker,) = gateway.backend.used()
    return worker


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\r\n", os.urandom(1_500_000)], ids=len)
async def test_a_file_put_in_is_what_is_got_out(gateway: Served, container_id: str, content: bytes) -> None:
    files = gateway.sdk().containers.files
    made = await files.create(container_id, file=("in é.csv", content))
    assert (made.object, made.bytes, made.path, made.source) == (
        "container.file",
        len(content),
        "/mnt/data/in é.csv",
        "user",
    )
    assert worker_of(gateway).files == {"in é.csv": content}
    assert (await files.retrieve(made.id, container_id=container_id)).to_dict() == made.to_dict()
    got = await files.content.retrieve(made.id, container_id=container_id)
    assert got.content == content
    assert got.response.headers["content-length"] == str(len(content))
    await files.delete(made.id, container_id=container_id)
    assert worker_of_all(gateway) == {}
    with pytest.raises(openai.NotFoundError):
        await files.retrieve(made.id, container_id=container_id)


def worker_of_all(gateway: Served) -> dict[str, bytes]:
    return {path: content for worker in gateway.backend.workers for path, content in worker.files.items()}


async def test_an_uploaded_file_is_put_in_by_its_id(gateway: Served, container_id: str) -> None:
    sdk = gateway.sdk()
    file = await sdk.files.create(file=("x.txt", b"hello"), purpose="user_data")
    by_json = await sdk.containers.files.create(container_id, file_id=file.id)
    async with gateway.http() as http:
        form = {"file_id": (None, file.id)}  # as openai-python 1.x sends it
        by_form = await http.post(f"/v1/containers/{container_id}/files", files=form)
    assert by_form.json()["id"] == by_json.id  # the same path is the same file
    assert worker_of(gateway).files == {"x.txt": b"hello"}


async def test_files_that_code_wrote_are_listed_and_can_be_fetched(gateway: Served, container_id: str) -> None:
    sdk = gateway.sdk()
    mine = await sdk.containers.files.create(container_id, file=("in.csv", b"1"))
    worker = worker_of(gateway)
    worker.files |= {"out/plot.png": b"PNG", ".cache/fonts": b"x", "out/.hidden": b"", "__pycache__/m.pyc": b"x"}
    listed = {file.path: file async for file in sdk.containers.files.list(container_id)}
    assert listed.keys() == {"/mnt/data/in.csv", "/mnt/data/out/plot.png"}
    plot = listed["/mnt/data/out/plot.png"]
    assert (plot.source, plot.bytes) == ("assistant", 3)
    assert listed["/mnt/data/in.csv"].id == mine.id
    content = await sdk.containers.files.content.retrieve(plot.id, container_id=container_id)
    assert content.content == b"PNG"
    assert "plot.png" in content.response.headers["content-disposition"]
    del worker.files["out/plot.png"]
    with pytest.raises(openai.NotFoundError):
        await sdk.containers.files.content.retrieve(plot.id, container_id=container_id)
    assert [file.path async for file in sdk.containers.files.list(container_id)] == ["/mnt/data/in.csv"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\passwd", "a/b/passwd"])
async def test_a_name_is_only_ever_a_name(gateway: Served, container_id: str, name: str) -> None:
    made = await gateway.sdk().containers.files.create(container_id, file=(name, b"1"))
    assert made.path == "/mnt/data/passwd"
    assert worker_of(gateway).files.keys() == {"passwd"}


async def test_a_file_that_is_too_large_never_reaches_the_sandbox(gateway: Served, container_id: str) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        await gateway.sdk().containers.files.create(container_id, file=("x", bytes(MAX_FILE_BYTES + 1)))
    assert refused.value.status_code == 413
    assert refused.value.code == "request_too_large"
    assert gateway.backend.used() == []


async def test_an_upload_that_breaks_off_harms_nothing(gateway: Served, container_id: str) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    half = b'--b\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\nhalf'
    async with gateway.http() as http:
        answer = await http.post(f"/v1/containers/{container_id}/files", content=half, headers=headers)
    assert answer.status_code == 400
    assert (await gateway.sdk().containers.retrieve(container_id)).status == "running"
    assert gateway.backend.used() == []


async def test_a_folder_without_room_is_the_clients_to_know(gateway: Served, container_id: str) -> None:
    for worker in gateway.backend.workers:
        worker.full = True
    with pytest.raises(openai.BadRequestError, match="No space left"):
        await gateway.sdk().containers.files.create(container_id, file=("x", b"1"))


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"file_id": 1}', "application/json"),
        (b"", "text/plain"),
        (b"--b--\r\n", "multipart/form-data; boundary=b"),
    ],
)
async def test_a_body_that_is_no_file_is_refused(
    gateway: Served, container_id: str, content: bytes, content_type: str
) -> None:
    async with gateway.http() as http:
        answer = await http.post(
            f"/v1/containers/{container_id}/files", content=content, headers={"content-type": content_type}
        )
    assert answer.status_code == 400, answer.text


async def test_while_code_runs_files_are_listed_as_known_and_uploads_have_to_wait(
    gateway: Served, container_id: str
) -> None:
    sdk = gateway.sdk()
    await sdk.containers.files.create(container_id, file=("in.csv", b"1"))
    worker = worker_of(gateway)
    worker.hold = "sleep"
    async with gateway.http() as http, asyncio.TaskGroup() as tasks:
        url = f"/v1/sessions/{container_id}/execute"
        running = tasks.create_task(http.post(url, json={"code": "sleep()"}))
        await gateway.backend.wait_running()
        assert [file.path async for file in sdk.containers.files.list(container_id)] == ["/mnt/data/in.csv"]
        with pytest.raises(openai.ConflictError) as busy:
            await sdk.containers.files.create(container_id, file=("y", b"1"))
        assert busy.value.code == "session_busy"
        worker.release.set()
    answer: httpx.Response = running.result()
    assert answer.json()["status"] == "ok"
