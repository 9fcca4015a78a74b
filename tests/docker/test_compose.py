"""docker-compose.yml as a user runs it: up, a program through the gateway, down."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import httpx
import pytest

from app.sandbox.docker.owner import Owner
from tests.preparation import base_image
from tests.scenarios.client import body, collect, of_type, session, text
from tests.scenarios.test_corpus import PROGRAMS, files

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

PROJECT = Path(__file__).parents[2]
NAME = f"eager-test-{os.getpid()}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def compose(*arguments: str, **environment: str) -> None:
    command = ["docker", "compose", "--project-name", NAME, "--project-directory", str(PROJECT), *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"


def sandboxes_of_gateways_in_containers(engine: docker.DockerClient) -> set[str]:
    """Their owners are in other PID namespaces than ours."""
    found = set()
    for container in engine.containers.list(all=True, filters={"label": "eager.owner"}, ignore_removed=True):
        owner = Owner.parse(container.labels["eager.owner"])
        if owner is not None and owner.pid_namespace != Owner.current().pid_namespace:
            found.add(container.name or "")
    return found


@pytest.fixture
def gateway_url(engine: docker.DockerClient) -> Iterator[str]:
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        (pytest.fail if os.environ.get("EAGER_TEST_DOCKER") == "required" else pytest.skip)("no Docker Compose")
    port = free_port()
    environment = {
        "EAGER_BASE_IMAGE": base_image(),
        "EAGER_LIBRARY_SET": "core",
        "EAGER_PORT": str(port),
        "EAGER_REPLAY_PORT": str(free_port()),
        "EAGER_UPSTREAM_BASE_URL": "",
        "EAGER_API_KEYS": "",
        "EAGER_POOL_SIZE": "1",
        "DOCKER_BUILDKIT": "0",  # the client of CI has no buildx
    }
    try:
        compose("up", "--build", "--detach", "--wait", **environment)
        yield f"http://127.0.0.1:{port}"
    finally:
        compose("down", "--volumes", "--remove-orphans", **environment)


@pytest.fixture
def nothing_is_left(engine: docker.DockerClient) -> Iterator[None]:
    before = sandboxes_of_gateways_in_containers(engine)
    yield
    deadline = time.monotonic() + 60  # tests beside this one have such sandboxes for a moment
    while not (left := sandboxes_of_gateways_in_containers(engine)) <= before and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left <= before
    label = {"label": f"com.docker.compose.project={NAME}"}
    assert engine.containers.list(all=True, filters=label, ignore_removed=True) == []
    assert engine.networks.list(filters=label) == []
    assert engine.volumes.list(filters=label) == []


async def test_a_program_runs_through_a_composed_gateway_and_down_leaves_nothing(
    engine: docker.DockerClient, nothing_is_left: None, gateway_url: str
) -> None:
    (program,) = (program for program in PROGRAMS if program["id"] == "dev-dab-02")
    source = (PROJECT / "tests" / "corpus" / program["program"]).read_text()
    async with (
        httpx.AsyncClient(base_url=gateway_url, timeout=120) as client,
        session(client, files(program)) as name,
    ):
        assert sandboxes_of_gateways_in_containers(engine)
        found = await collect(client, body("replay", f"Write this.\n```python\n{source}\n```", session=name))
    assert of_type(found, "exec.error") == []
    assert text(found, "stdout") == program["stdout"]
    assert found[-1]["type"] == "done"
