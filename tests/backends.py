"""Which sandbox backends this machine has. ``make test`` provides them all as root on Debian; where one is missing the
tests that need it are skipped and say why. EAGER_TEST_DOCKER=required (CI) turns a missing engine into a failure, and
EAGER_TEST_GVISOR=required one that does not know gVisor."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.preparation import failure_of

SANDBOX_ENV = Path(".eager/sandbox-env/bin/python")
SANDBOX_IMAGE = "eager-sandbox:latest"


def require_backend(name: str) -> None:
    """Skip the test, or fail it, if ``name`` cannot run here."""
    missing = _missing(name)
    if missing is None:
        return
    if os.environ.get(f"EAGER_TEST_{name.upper()}") == "required":
        pytest.fail(missing)
    pytest.skip(missing)


@cache
def _missing(name: str) -> str | None:
    if name == "local":
        return None if SANDBOX_ENV.exists() else "no sandbox environment: run `make install`"
    if name == "jupyter":
        launcher = SANDBOX_ENV.parents[1] / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
        if launcher.exists() and find_spec("jupyter_client"):
            return None
        return "no jupyter_client, or no ipykernel in the sandbox environment: run `make install`"
    if os.environ.get("EAGER_TEST_DOCKER") == "off":
        return "EAGER_TEST_DOCKER=off"
    if failure := failure_of("docker"):
        return failure
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=10)
        try:
            client.images.get(SANDBOX_IMAGE)
            runtimes = client.info()["Runtimes"]
        finally:
            client.close()
    except DockerException as error:
        return f"no Docker Engine with the image {SANDBOX_IMAGE}: {error}"
    if name == "gvisor" and "runsc" not in runtimes:
        return f"the Docker Engine does not know gVisor's runtime runsc, only {', '.join(sorted(runtimes))}"
    return None
