"""What holds for all tests."""

from __future__ import annotations

import signal
from collections.abc import Generator
from typing import Any

import hypothesis
import pytest
from hypothesis import settings

from tests import distribution, preparation

#: Modules beside the tests that assert; to be named before anything imports them.
pytest.register_assert_rewrite(
    "tests.attacks.arena", "tests.attacks.attempt", "tests.attacks.checks", "tests.sandbox.backends"
)

#: What Python itself ignores at its start.
IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}

# No example has a time limit of its own: on a busy machine it would fail for that alone.
settings.register_profile("eager", deadline=None)
settings.load_profile("eager")


# A machine that is busy finds no bug: how long an example takes is not judged.
hypothesis.settings.register_profile("eager", deadline=None)
hypothesis.settings.load_profile("eager")


def pytest_configure() -> None:
    """A shell that starts us in the background, or under nohup, makes us ignore signals, and so every process that the
    tests start: what is compared with a fresh Python would then not be one."""
    for number in signal.valid_signals() - IGNORED_BY_PYTHON:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = distribution.in_order(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> distribution.ByUnit:
    return distribution.ByUnit(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test's time limit begins when what it needs is there."""
    for job in preparation.JOBS:
        if item.get_closest_marker(job):
            preparation.wait_for(job)
    return (yield)
