"""/v1/sessions, over fakes."""

from __future__ import annotations

from pathlib import Path

from tests.api.served import served


async def test_containers_are_not_listed_among_sessions(tmp_path: Path) -> None:
    async with served(tmp_path) as gateway, gateway.http() as http:
        session = (await http.post("/v1/sessions")).json()
        container = (await http.post("/v1/containers", json={"name": "c"})).json()
        assert (await http.get("/v1/sessions")).json()["data"] == [session]
        assert (await http.get("/v1/containers")).json()["data"] == [container]
        run_in_it = await http.post(f"/v1/sessions/{container['id']}/execute", json={"code": "1"})
        assert run_in_it.json()["session"] == container["id"]
