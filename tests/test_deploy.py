"""The files for production, as far as they can be read without an engine and a proxy."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no stubs

from app.api.metrics import ENGINE_METRICS
from app.config import MiB, Settings, unknown_variables
from app.main import FORM_OVERHEAD_BYTES
from app.serving import KEEP_ALIVE_S
from tests.api.served import served

PROJECT = Path(__file__).parents[1]


def gateway_in(file: str) -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load((PROJECT / file).read_text())["services"]["gateway"]
    return service


@pytest.mark.parametrize("file", ["docker-compose.yml", "deploy/docker-compose.yml"])
def test_variables_of_the_gateway_are_settings(file: str) -> None:
    assert unknown_variables(gateway_in(file)["environment"]) == []


@pytest.fixture
def promtool() -> str:
    """Of Debian's prometheus; ``scripts/promtool`` gets it without its service."""
    found = shutil.which("promtool", path=f"{PROJECT / '.eager/promtool/usr/bin'}:{os.environ['PATH']}")
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no promtool: scripts/promtool gets it")
    return found


def test_each_alert_fires_when_it_has_to_and_only_then(promtool: str) -> None:
    command = [promtool, "test", "rules", "alerts_test.yml"]
    done = subprocess.run(command, cwd=PROJECT / "deploy", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested_both_ways_and_has_a_remedy() -> None:
    (group,) = yaml.safe_load((PROJECT / "deploy/alerts.yml").read_text())["groups"]
    quiet, night = yaml.safe_load((PROJECT / "deploy/alerts_test.yml").read_text())["tests"]
    alerts = {rule["alert"] for rule in group["rules"]}
    assert {test["alertname"] for test in quiet["alert_rule_test"]} == alerts
    (fired,) = night["promql_expr_test"]
    assert {sample["labels"].split('"')[1] for sample in fired["exp_samples"]} == alerts
    assert all(rule["annotations"]["remedy"] and rule["annotations"]["summary"] for rule in group["rules"])
    told = (PROJECT / "deploy/README.md").read_text()
    assert [alert for alert in sorted(alerts - {"EagerDescriptorsShort"}) if f"`{alert}`" not in told] == []


async def test_alerts_and_dashboard_ask_for_metrics_that_there_are(tmp_path: Path) -> None:
    async with served(tmp_path) as gateway, gateway.http() as client:
        text = (await client.get("/metrics")).text
    known = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)) | {f"eager_engine_{name}" for name in ENGINE_METRICS}
    asked = {"up"}
    for file in ("alerts.yml", "dashboard.json"):
        asked |= set(re.findall(r"\b(?:eager|process)_\w+", (PROJECT / "deploy" / file).read_text()))
    assert {name for name in asked if re.sub(r"_bucket$", "", name) not in known} == {"up"}


def test_panels_of_the_dashboard_have_places_and_ids_of_their_own() -> None:
    panels = json.loads((PROJECT / "deploy/dashboard.json").read_text())["panels"]
    for what in ("id", "title", "gridPos"):
        assert len({str(panel[what]) for panel in panels}) == len(panels)


def test_the_unit_is_one_that_systemd_accepts(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    unit = tmp_path / "eager.service"
    unit.write_text((PROJECT / "deploy/eager.service").read_text().replace("/opt/eager/bin/eager", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_settings_of_the_unit_are_settings() -> None:
    text = (PROJECT / "deploy/eager.service").read_text() + (PROJECT / "deploy/eager.env.example").read_text()
    named = set(re.findall(r"\b(EAGER_[A-Z_]+)=", text))
    assert named
    assert unknown_variables(named) == []


def test_a_backup_holds_rows_and_files_of_a_gateway_that_runs(tmp_path: Path) -> None:
    text = (PROJECT / "deploy/README.md").read_text()
    found = re.search(r"^ +# backup\.sh.*?(?=^ +```)", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    script = re.sub("^  ", "", found[0], flags=re.MULTILINE)
    data, kept = tmp_path / "data", tmp_path / "kept"
    (data / "files").mkdir(parents=True)
    (data / "files" / "file-1").write_text("content")
    kept.mkdir()
    with closing(sqlite3.connect(data / "eager.db")) as database:
        database.execute("PRAGMA journal_mode=wal")
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES (42)")
        database.commit()
        subprocess.run(["bash", "-eu", "-c", script, "backup.sh", data, kept], check=True)
    with closing(sqlite3.connect(kept / "eager.db")) as copy:
        assert copy.execute("SELECT x FROM t").fetchall() == [(42,)]
    assert (kept / "files" / "file-1").read_text() == "content"


@pytest.mark.parametrize("file", ["docker-compose.yml", "deploy/docker-compose.yml"])
def test_compose_reads_the_whole_file(file: str) -> None:
    """Without an engine. That of production is refused without the variables it needs, by their names."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no Docker Compose")
    command = ["docker", "compose", "-f", str(PROJECT / file), "config", "--quiet"]
    needed = re.findall(r"\$\{(\w+):\?", (PROJECT / file).read_text())
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "DOCKER_HOST": "tcp://127.0.0.1:9"}
    for missing in [*needed, None]:
        given = environment | {name: "/value" for name in needed if name != missing}
        done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is (missing is None), done.stderr
        assert missing is None or missing in done.stderr


def test_what_is_to_outlive_the_gateway_is_on_a_volume_that_its_user_may_write() -> None:
    service = gateway_in("deploy/docker-compose.yml")
    folder = service["environment"]["EAGER_DATA_DIR"]
    assert f"data:{folder}" in service["volumes"]
    assert "data" in yaml.safe_load((PROJECT / "deploy/docker-compose.yml").read_text())["volumes"]
    # A new volume takes the owner of the image's folder.
    assert f"install -d -o eager {folder}" in (PROJECT / "Dockerfile").read_text()


def test_proxies_end_idle_connections_before_the_gateway_does() -> None:
    """Else a request may be sent on a connection that is closing: a 502."""
    nginx, caddy = ((PROJECT / "deploy" / name).read_text() for name in ("nginx.conf", "Caddyfile"))
    kept = (re.search(r"keepalive_timeout (\d+)s;", nginx), re.search(r"keepalive (\d+)m ", caddy))
    assert kept[0] is not None
    assert kept[1] is not None
    assert max(int(kept[0][1]), int(kept[1][1]) * 60) < KEEP_ALIVE_S


def test_proxies_let_web_sockets_and_the_largest_upload_through() -> None:
    """Caddy passes upgrades on by itself."""
    nginx, caddy = ((PROJECT / "deploy" / name).read_text() for name in ("nginx.conf", "Caddyfile"))
    assert "proxy_set_header Upgrade $http_upgrade;" in nginx
    assert re.search(r"proxy_set_header Connection (\$\w+);", nginx)
    largest = Settings.model_fields["max_upload_mb"].default * MiB + FORM_OVERHEAD_BYTES
    for limit in (re.search(r"client_max_body_size (\d+)m;", nginx), re.search(r"max_size (\d+)MiB", caddy)):
        assert limit is not None
        assert int(limit[1]) * MiB >= largest
