"""/v1/containers, through OpenAI's SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from tests.api.served import Served, served


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as gateway:
        yield gateway


async def test_a_container_is_made_listed_looked_at_and_removed(gateway: Served) -> None:
    containers = gateway.sdk().containers
    made = await containers.create(
        name="mine", expires_after={"anchor": "last_active_at", "minutes": 5}, memory_limit="4g"
    )
    assert (made.object, made.status, made.name) == ("container", "running", "mine")
    assert made.expires_after is not None
    assert made.expires_after.minutes == 5
    assert made.memory_limit == "4g"
    assert (await containers.retrieve(made.id)).to_dict() == made.to_dict()
    other = await containers.create(name="other")
    assert [listed.id async for listed in containers.list()] == [other.id, made.id]
    assert [listed.id async for listed in containers.list(limit=1, order="asc")] == [made.id, other.id]
    named = await gateway.http().get("/v1/containers", params={"name": "mine"})
    assert [listed["id"] for listed in named.json()["data"]] == [made.id]
    await containers.delete(made.id)
    with pytest.raises(openai.NotFoundError) as gone:
        await containers.retrieve(made.id)
    assert gone.value.code == "container_not_found"
    assert not gateway.registry.is_alive(made.id, owner="a")


async def test_files_are_put_into_a_container_as_it_is_made(gateway: Served) -> None:
    sdk = gateway.sdk()
    file = await sdk.files.create(file=("in.csv", b"a,b\n"), purpose="user_data")
    made = await sdk.containers.create(name="c", file_ids=[file.id])
    (found,) = [listed async for listed in sdk.containers.files.list(made.id)]
    assert (found.path, found.bytes, found.source) == ("/mnt/data/in.csv", 4, "user")
    with pytest.raises(openai.NotFoundError):
        await sdk.containers.create(name="c", file_ids=["file-unknown"])


async def test_a_container_whose_file_could_not_be_put_in_is_not_left_behind(gateway: Served) -> None:
    sdk = gateway.sdk()
    file = await sdk.files.create(file=("in.csv", b"a,b\n"), purpose="user_data")
    for worker in gateway.backend.workers:
        worker.full = True
    gateway.backend.prepare = lambda worker: setattr(worker, "full", True)
    with pytest.raises(openai.BadRequestError, match="No space left"):
        await sdk.containers.create(name="c", file_ids=[file.id])
    assert [listed async for listed in sdk.containers.list()] == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "c", "memory_limit": "2t"}, "memory_limit"),
        ({"name": "c", "expires_after": {"anchor": "last_active_at", "minutes": 0}}, "expires_after.minutes"),
        ({"name": "c", "expires_after": {"anchor": "last_active_at", "minutes": 21}}, "expires_after.minutes"),
        ({"name": "c", "network_policy": {"type": "allowlist", "allowed_domains": ["x"]}}, "network_policy.type"),
        ({"name": "c", "file_ids": ["\x00"]}, "file_ids"),
    ],
)
async def test_what_cannot_be_had_is_refused(gateway: Served, body: dict[str, object], param: str) -> None:
    async with gateway.http() as http:
        answer = await http.post("/v1/containers", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


async def test_an_expired_container_says_so_and_its_files_are_gone(gateway: Served) -> None:
    sdk = gateway.sdk()
    made = await sdk.containers.create(name="c")
    file = await sdk.containers.files.create(made.id, file=("x", b"1"))
    await gateway.registry.delete(made.id, owner="a")  # what its expiry does
    assert (await sdk.containers.retrieve(made.id)).status == "expired"
    assert [listed.status async for listed in sdk.containers.list()] == ["expired"]
    for call in (
        sdk.containers.files.list(made.id),
        sdk.containers.files.retrieve(file.id, container_id=made.id),
        sdk.containers.files.content.retrieve(file.id, container_id=made.id),
        sdk.containers.files.create(made.id, file=("y", b"2")),
        sdk.containers.files.delete(file.id, container_id=made.id),
    ):
        with pytest.raises(openai.NotFoundError) as gone:
            await call
        assert gone.value.code == "container_expired"
    await sdk.containers.delete(made.id)


async def test_a_container_whose_sandbox_died_has_expired(gateway: Served) -> None:
    sdk = gateway.sdk()
    made = await sdk.containers.create(name="c")
    for worker in gateway.backend.workers:
        worker.die()
    assert (await sdk.containers.retrieve(made.id)).status == "expired"
    await sdk.containers.delete(made.id)


async def test_after_a_restart_containers_are_there_and_have_expired(tmp_path: Path) -> None:
    async with served(tmp_path) as gateway:
        made = await gateway.sdk().containers.create(name="c")
        file = await gateway.sdk().containers.files.create(made.id, file=("x", b"1"))
    async with served(tmp_path) as gateway:
        sdk = gateway.sdk()
        assert (await sdk.containers.retrieve(made.id)).status == "expired"
        with pytest.raises(openai.NotFoundError):
            await sdk.containers.files.retrieve(file.id, container_id=made.id)


async def test_containers_of_others_do_not_exist(gateway: Served) -> None:
    made = await gateway.sdk("ka").containers.create(name="c")
    stranger = gateway.sdk("kb")
    assert [listed async for listed in stranger.containers.list()] == []
    for call in (
        stranger.containers.retrieve(made.id),
        stranger.containers.delete(made.id),
        stranger.containers.files.list(made.id),
        stranger.containers.files.create(made.id, file=("x", b"1")),
    ):
        with pytest.raises(openai.NotFoundError) as missing:
            await call
        assert missing.value.code == "container_not_found"
    assert (await gateway.sdk("ka").containers.retrieve(made.id)).status == "running"
