from collections.abc import AsyncIterator, Iterator

import docker
import pytest

from app.sandbox.docker.backend import DockerBackend
from tests.backends import SANDBOX_IMAGE, require_backend


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    """The engine as somebody else sees it. Skips or fails the test if there is none."""
    require_backend("docker")
    client = docker.from_env(timeout=30)
    yield client
    client.close()


@pytest.fixture(params=["unix", "attach"])
async def backend(request: pytest.FixtureRequest, engine: docker.DockerClient) -> AsyncIterator[DockerBackend]:
    """A backend on each transport; afterwards, nothing of it is left on the engine."""
    backend = DockerBackend(image=SANDBOX_IMAGE, transport=request.param)
    yield backend
    await backend.close()
    assert containers_of(engine, backend) == []


def containers_of(engine: docker.DockerClient, backend: DockerBackend) -> list[str]:
    label = f"eager.gateway={backend.instance}"
    found = engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)
    return [container.name or "" for container in found]
