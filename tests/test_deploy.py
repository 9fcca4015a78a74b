"""The files for production, as far as they can be read without an engine and a proxy."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no stubs

from app.config import MiB, Settings, unknown_variables
from app.main import FORM_OVERHEAD_BYTES
from app.serving import KEEP_ALIVE_S

PROJECT = Path(__file__).parents[1]


def gateway_in(file: str) -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load((PROJECT / file).read_text())["services"]["gateway"]
    return service


@pytest.mark.parametrize("file", ["docker-compose.yml", "deploy/docker-compose.yml"])
def test_variables_of_the_gateway_are_settings(file: str) -> None:
    assert unknown_variables(gateway_in(file)["environment"]) == []


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
