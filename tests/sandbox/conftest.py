import pytest

from tests.sandbox.backends import BACKENDS, HARMLESS, NOT_WITH_GVISOR, Opener


@pytest.fixture(params=[pytest.param(name, marks=mark) for name, (_, mark) in BACKENDS.items()])
def opener(request: pytest.FixtureRequest) -> Opener:
    """Each real backend in turn; see ``scenario``."""
    if request.param == "jupyter" and request.node.originalname not in HARMLESS:
        pytest.skip("a kernel isolates and limits nothing")
    if request.param == "docker with gVisor" and request.node.originalname in NOT_WITH_GVISOR:
        pytest.skip(NOT_WITH_GVISOR[request.node.originalname])
    return BACKENDS[request.param][0]
