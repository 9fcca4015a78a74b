"""The API over PostgreSQL, which is stricter than SQLite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.served import served
from tests.store.postgres import running_postgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


async def test_answers_and_containers_outlive_the_gateway(postgres: str, tmp_path: Path) -> None:
    body = {"model": "m", "input": "Go \0 \ud83d.", "tools": [{"type": "code_interpreter"}]}
    async with served(tmp_path, database_url=postgres) as gateway, gateway.http() as http:
        for worker in gateway.backend.workers:
            worker.writes = {"save": {"out\0.csv": b"1"}}
        gateway.upstream.code("save()\n")
        gateway.upstream.end_code()
        gateway.upstream.finish()
        gateway.upstream.delta({"content": "Done."})
        gateway.upstream.finish("stop")
        content = json.dumps(body)  # httpx would not spell half a character
        answer = await http.post("/v1/responses", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 200, answer.text
        response = answer.json()
    async with served(tmp_path, database_url=postgres) as gateway, gateway.http() as http:
        stored = (await http.get(f"/v1/responses/{response['id']}")).json()
        assert stored == response
        container = response["output"][0]["container_id"]
        assert (await http.get(f"/v1/containers/{container}")).json()["status"] == "expired"


@pytest.mark.parametrize(
    "path", ["responses/%00", "containers/%00", "containers/%00/files/%00", "files/%00", "files/%00/content"]
)
async def test_an_id_with_a_null_character_is_not_found(postgres: str, tmp_path: Path, path: str) -> None:
    async with served(tmp_path, database_url=postgres) as gateway, gateway.http() as http:
        assert (await http.get(f"/v1/{path}")).status_code == 404
