import pytest

from tests.sandbox.backends import BACKENDS, Opener


@pytest.fixture(params=[pytest.param(name, marks=mark) for name, (_, mark) in BACKENDS.items()])
def opener(request: pytest.FixtureRequest) -> Opener:
    """Each real backend in turn; see ``scenario``."""
    return BACKENDS[request.param][0]
