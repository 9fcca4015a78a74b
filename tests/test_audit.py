"""The record of executions, as files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.audit import Audit
from app.usage import ExecutionRecord
from tests.api.served import served

DAY_S = 24 * 3600.0


def record(key: str = "app") -> ExecutionRecord:
    return ExecutionRecord(key, "req_1", "", "fake-1", "python", "0" * 64, 0.5, "ok")


async def test_each_day_has_a_file_and_old_ones_go(tmp_path: Path) -> None:
    now = 0.0
    audit = Audit(tmp_path / "audit", backend="local", days=2, clock=lambda: now)
    async with audit.kept():
        for day in range(4):
            now = day * DAY_S
            audit.note(record(f"key {day}"))
            audit.note(record("\n"))
    files = sorted((tmp_path / "audit").iterdir())
    assert [path.name for path in files] == [f"1970-01-0{day}.jsonl" for day in range(1, 5)]
    lines = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert [(line["time"], line["key"], line["backend"], line["outcome"]) for line in lines] == [
        (0.0, "key 0", "local", "ok"),
        (0.0, "\n", "local", "ok"),
    ]
    assert files[0].stat().st_mode & 0o077 == 0
    await audit.purge()
    assert sorted(path.name for path in (tmp_path / "audit").iterdir()) == ["1970-01-02.jsonl", *files_from(3, 4)]


def files_from(*days: int) -> list[str]:
    return [f"1970-01-0{day}.jsonl" for day in days]


async def test_what_cannot_be_written_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    audit = Audit(tmp_path / "audit", backend="local", days=2, clock=lambda: 0.0)
    async with audit.kept():
        (tmp_path / "audit" / "1970-01-01.jsonl").mkdir()
        audit.note(record("somebody"))
    assert '"key": "somebody"' in caplog.text


async def test_a_request_with_code_leaves_its_line(tmp_path: Path) -> None:
    async with served(tmp_path) as gateway, gateway.http() as http:
        session = (await http.post("/v1/sessions")).json()
        answer = await http.post(f"/v1/sessions/{session['id']}/execute", json={"code": "print(1)"})
    (path,) = (tmp_path / "audit").iterdir()
    (line,) = map(json.loads, path.read_text().splitlines())
    assert (line["key"], line["request"]) == ("a", answer.headers["x-request-id"])
    assert (line["session"], line["outcome"], line["backend"]) == (session["id"], "ok", "local")


async def test_without_days_nothing_is_kept(tmp_path: Path) -> None:
    async with served(tmp_path, audit_days=0) as gateway, gateway.http() as http:
        session = (await http.post("/v1/sessions")).json()
        await http.post(f"/v1/sessions/{session['id']}/execute", json={"code": "print(1)"})
    assert not (tmp_path / "audit").exists()
