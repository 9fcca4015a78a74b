"""schemathesis against the gateway's own document: whatever is sent, the answer is one that was documented."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_no_request_breaks_the_gateway_and_every_answer_is_documented(gateway_url: str, tmp_path: Path) -> None:
    """An error that is not in OpenAI's shape does not conform: the document gives it for every operation."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{gateway_url}/openapi.json",
        f"--checks={CHECKS}",
        "--phases=coverage,fuzzing",
        "--max-examples=5",
        "--seed=1",
        "--generation-database=none",
        "--no-color",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=tmp_path, env=dict(os.environ))
    assert done.returncode == 0, done.stdout[-8000:]
