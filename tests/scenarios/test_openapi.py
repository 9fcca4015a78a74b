"""schemathesis against the gateway's own document: whatever is sent, the answer is one that was documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.backends import require_backend
from tests.scenarios.servers import eager

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.timeout(300)
def test_no_request_breaks_the_gateway_and_every_answer_is_documented(tmp_path: Path) -> None:
    """An error that is not in OpenAI's shape does not conform: the document gives it for every operation."""
    require_backend("local")
    settings = {
        "EAGER_DATA_DIR": str(tmp_path / "data"),
        "EAGER_PRELOAD": "",
        "EAGER_TIMEOUT_S": "0.1",
        "EAGER_SESSION_LIMIT": "64",  # the one session that is asked for stays
        "EAGER_SANDBOX_LIMIT": "64",
    }
    with (
        eager("upstream", "--tps", "0", "--ttft-ms", "0") as upstream,
        eager("serve", EAGER_UPSTREAM_BASE_URL=f"{upstream.url}/v1", **settings) as server,
    ):
        (tmp_path / "schemathesis.toml").write_text(that_exist(server.url))
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{server.url}/openapi.json",
            f"--checks={CHECKS}",
            "--phases=coverage,fuzzing",
            "--max-examples=2",
            "--seed=1",
            "--generation-database=none",
            "--no-color",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-8000:]


def that_exist(url: str) -> str:
    """Identifiers of what there is, for schemathesis to use in paths: guessed ones lead no further than 404. What
    deletes goes on guessing."""
    with httpx.Client(base_url=f"{url}/v1", timeout=60) as client:

        def create(path: str, **request: Any) -> str:
            answer = client.post(path, **request)
            assert answer.status_code == 200, answer.text
            return str(answer.json()["id"])

        container = create("/containers", json={"name": "mine"})
        ids = {
            "session_id": create("/sessions"),
            "container_id": container,
            "response_id": create("/responses", json={"model": "replay", "input": "Hello."}),
        }
        file = create("/files", files={"file": ("a.txt", b"1")}, data={"purpose": "user_data"})
        own = create(f"/containers/{container}/files", files={"file": ("b.txt", b"2")})
    in_container = {"container_id": container, "file_id": own}
    return operations(ids | {"file_id": file}, 'exclude-path-regex = "/v1/containers/.+/files/.+"') + operations(
        in_container, 'include-path-regex = "/v1/containers/.+/files/.+"'
    )


def operations(ids: dict[str, str], which: str) -> str:
    parameters = ", ".join(f'"path.{name}" = "{id}"' for name, id in ids.items())
    return f'[[operations]]\nexclude-method = "DELETE"\n{which}\nparameters = {{ {parameters} }}\n'
