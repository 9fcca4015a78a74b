"""schemathesis against the gateway's own document: whatever is sent, the answer is one that was documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends import require_backend
from tests.scenarios.servers import eager

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.timeout(300)
def test_no_request_breaks_the_gateway_and_every_answer_is_documented(tmp_path: Path) -> None:
    """An error that is not in OpenAI's shape does not conform: the document gives it for every operation."""
    require_backend("local")
    settings = {"EAGER_DATA_DIR": str(tmp_path / "data"), "EAGER_PRELOAD": "", "EAGER_TIMEOUT_S": "0.1"}
    with (
        eager("upstream", "--tps", "0", "--ttft-ms", "0") as upstream,
        eager("serve", EAGER_UPSTREAM_BASE_URL=f"{upstream.url}/v1", **settings) as server,
    ):
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
