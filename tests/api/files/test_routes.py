"""/v1/files, through HTTP and through OpenAI's SDK."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import openai
import pytest
from fastapi import FastAPI

from app.api.edge.auth import AuthMiddleware, Keyring
from app.api.edge.errors import install
from app.api.files.routes import purge_files, router
from app.store.blobs import BlobStore
from app.store.database import open_store

MAX_BYTES = 1_000_000


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[FastAPI]:
    app = FastAPI()
    install(app)
    app.include_router(router)
    app.add_middleware(AuthMiddleware, keyring=Keyring(['{"key": "ka", "name": "a"}', '{"key": "kb", "name": "b"}']))
    blobs = BlobStore(str(tmp_path / "files"))
    await blobs.prepare()
    async with open_store(f"sqlite+aiosqlite:///{tmp_path}/eager.db") as store:
        app.state.services = SimpleNamespace(store=store, blobs=blobs, max_file_bytes=MAX_BYTES)
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": "Bearer ka"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway", headers=headers
    ) as client:
        yield client


@pytest.fixture
def sdk(app: FastAPI) -> openai.AsyncOpenAI:
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app))
    return openai.AsyncOpenAI(base_url="http://gateway/v1", api_key="ka", max_retries=0, http_client=http)


def blobs_of(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\r\n--\r\n\r\n", os.urandom(700_000)])
async def test_openais_sdk_gets_back_the_bytes_it_put_up(sdk: openai.AsyncOpenAI, content: bytes) -> None:
    file = await sdk.files.create(file=("in é.csv", content), purpose="user_data")
    assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(content), "in é.csv", "user_data")
    assert file.status == "processed"
    assert await sdk.files.retrieve(file.id) == file
    assert (await sdk.files.content(file.id)).content == content
    assert [listed.id async for listed in sdk.files.list()] == [file.id]


async def test_a_deleted_file_is_gone_with_its_bytes(sdk: openai.AsyncOpenAI, tmp_path: Path) -> None:
    file = await sdk.files.create(file=("x", b"1"), purpose="user_data")
    assert len(blobs_of(tmp_path)) == 1
    deleted = await sdk.files.delete(file.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (file.id, "file", True)
    assert blobs_of(tmp_path) == []
    for call in (sdk.files.retrieve, sdk.files.content, sdk.files.delete):
        with pytest.raises(openai.NotFoundError) as missing:
            await call(file.id)
        assert missing.value.code == "file_not_found"


async def test_lists_go_page_by_page_and_by_purpose(sdk: openai.AsyncOpenAI) -> None:
    created = [
        await sdk.files.create(file=(f"{number}", b""), purpose="vision" if number % 2 else "user_data")
        for number in range(5)
    ]
    ids = [file.id for file in created]
    assert [file.id async for file in sdk.files.list(limit=2, order="asc")] == ids
    assert [file.id async for file in sdk.files.list(limit=2)] == ids[::-1]
    assert [file.id async for file in sdk.files.list(order="asc", purpose="vision")] == ids[1::2]
    page = await sdk.files.list(limit=2, order="asc", after=ids[0])
    assert ([file.id for file in page.data], page.has_more) == (ids[1:3], True)


async def test_another_callers_files_do_not_exist(client: httpx.AsyncClient, sdk: openai.AsyncOpenAI) -> None:
    file = await sdk.files.create(file=("x", b"1"), purpose="user_data")
    other = {"authorization": "Bearer kb"}
    assert (await client.get("/v1/files", headers=other)).json()["data"] == []
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        assert (await client.request(method, f"/v1/files/{file.id}{path}", headers=other)).status_code == 404
    assert (await client.get(f"/v1/files/{file.id}/content")).content == b"1"
    assert (await client.get("/v1/files", headers={"authorization": ""})).status_code == 401


async def test_downloads_are_never_shown_by_a_browser_and_names_are_never_paths(client: httpx.AsyncClient) -> None:
    sent = {"file": ("../../etc/<b>.html", b"<script>", "text/html")}
    created = await client.post("/v1/files", files=sent, data={"purpose": "user_data"})
    assert created.json()["filename"] == "<b>.html"
    content = await client.get(f"/v1/files/{created.json()['id']}/content")
    assert content.headers["content-type"] == "application/octet-stream"
    assert content.headers["content-disposition"] == "attachment; filename*=UTF-8''%3Cb%3E.html"
    assert content.headers["x-content-type-options"] == "nosniff"
    assert content.headers["content-length"] == "8"


@pytest.mark.parametrize(
    ("data", "files", "param"),
    [
        ({"purpose": "user_data"}, {"other": ("x", b"1")}, "file"),
        ({}, {"file": ("x", b"1")}, "purpose"),
        ({"purpose": "fun"}, {"file": ("x", b"1")}, "purpose"),
    ],
)
async def test_an_incomplete_form_is_a_400_and_leaves_nothing(
    client: httpx.AsyncClient, tmp_path: Path, data: dict[str, str], files: dict[str, tuple[str, bytes]], param: str
) -> None:
    response = await client.post("/v1/files", data=data, files=files)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert blobs_of(tmp_path) == []


async def test_what_is_no_form_is_a_400(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/files", json={"file": "x"})).status_code == 400
    assert (await client.post("/v1/files")).status_code == 400


async def test_a_file_over_the_limit_is_a_413_and_leaves_nothing(client: httpx.AsyncClient, tmp_path: Path) -> None:
    fits = await client.post("/v1/files", files={"file": ("x", b"x" * MAX_BYTES)}, data={"purpose": "user_data"})
    assert fits.status_code == 200
    before = blobs_of(tmp_path)
    response = await client.post(
        "/v1/files", files={"file": ("x", b"x" * (MAX_BYTES + 1))}, data={"purpose": "user_data"}
    )
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"
    assert blobs_of(tmp_path) == before


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "order=up", "after=file-nope"])
async def test_a_wrong_query_is_a_400(client: httpx.AsyncClient, query: str) -> None:
    response = await client.get(f"/v1/files?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == query.partition("=")[0]


async def test_a_file_whose_record_cannot_be_kept_is_not_kept_either(
    client: httpx.AsyncClient, app: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(app.state.services.store.files, "add", fail)
    with pytest.raises(OSError, match="disk full"):
        await client.post("/v1/files", files={"file": ("x", b"1")}, data={"purpose": "user_data"})
    assert blobs_of(tmp_path) == []


HOUR_S = 3600


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def expiring(app: FastAPI, tmp_path: Path) -> AsyncIterator[Clock]:
    clock = Clock()
    async with open_store(f"sqlite+aiosqlite:///{tmp_path}/eager.db", clock=clock) as app.state.services.store:
        yield clock


async def test_a_file_is_there_until_it_expires(
    app: FastAPI, sdk: openai.AsyncOpenAI, expiring: Clock, tmp_path: Path
) -> None:
    stays = await sdk.files.create(file=("a", b"1"), purpose="user_data")
    file = await sdk.files.create(
        file=("b", b"2"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": HOUR_S}
    )
    assert (stays.expires_at, file.expires_at) == (None, file.created_at + HOUR_S)
    expiring.now += HOUR_S - 1
    assert await sdk.files.retrieve(file.id) == file
    await purge_files(app.state.services.store, app.state.services.blobs)
    assert len(blobs_of(tmp_path)) == 2
    expiring.now += 1
    for gone in (sdk.files.retrieve, sdk.files.content, sdk.files.delete):
        with pytest.raises(openai.NotFoundError):
            await gone(file.id)
    assert [listed.id async for listed in sdk.files.list()] == [stays.id]
    await purge_files(app.state.services.store, app.state.services.blobs)
    assert [path.name for path in blobs_of(tmp_path)] == [stays.id]
    assert await app.state.services.store.files.expired() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"expires_after[anchor]": "created_at"},
        {"expires_after[seconds]": "3600"},
        {"expires_after[anchor]": "last_active_at", "expires_after[seconds]": "3600"},
        {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
        {"expires_after[anchor]": "created_at", "expires_after[seconds]": "2592001"},
        {"expires_after[anchor]": "created_at", "expires_after[seconds]": "soon"},
        {"expires_after[anchor]": "created_at", "expires_after[seconds]": "9" * 5000},
        {"expires_after": "3600"},
    ],
)
async def test_an_expiry_that_openai_does_not_know_is_refused(
    client: httpx.AsyncClient, tmp_path: Path, fields: dict[str, str]
) -> None:
    answer = await client.post("/v1/files", files={"file": ("a", b"1")}, data={"purpose": "user_data", **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "expires_after")
    assert blobs_of(tmp_path) == []
