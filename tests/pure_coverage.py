"""Branch coverage of the pure folders by their own tests; below what it was, the run fails. ``make test`` loads it:

    pytest -n auto -p tests.pure_coverage

Only those tests are traced, which takes 1.7 times their CPU time.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage, CoverageData
from coverage.exceptions import NoDataError

#: Per cent of statements and branches, by folder or module: never less than was reached.
HELD = {
    "app/detection": 99.8,
    "app/extraction": 95.0,
    "app/latency.py": 100.0,
    "app/render": 93.0,
    "app/scheduling": 100.0,
    "app/sse": 87.0,
}
PROJECT = Path(__file__).parents[1]


def _patterns(place: str) -> list[str]:
    return [str(PROJECT / place) if place.endswith(".py") else str(PROJECT / place / "*")]


def _tests_of(place: str) -> str:
    """Where the tests of a folder or module are; ``tests`` mirrors ``app``."""
    folder, _, name = place.replace("app", "tests", 1).rpartition("/")
    return f"{folder}/test_{name}" if place.endswith(".py") else f"{folder}/{name}/"


class PureCoverage:
    """Of one process; the first one adds up what its workers have sent."""

    def __init__(self, *, traces: bool) -> None:
        self._tests = tuple(map(_tests_of, HELD))
        self._low: list[str] = []
        include = [pattern for place in HELD for pattern in _patterns(place)]
        self._coverage = Coverage(data_file=None, branch=True, include=include, config_file=False, messages=False)
        self._traces = traces
        self._tracing = False
        self._trace(True)  # module-level statements run when they are imported, which is while tests are collected

    def _trace(self, wanted: bool) -> None:
        """Switching costs some 10 ms: it stays on between two tests that want it."""
        if self._traces and wanted != self._tracing:
            self._tracing = wanted
            if wanted:
                self._coverage.start()
            else:
                self._coverage.stop()

    def pytest_collection_finish(self) -> None:
        self._trace(False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        self._trace(item.nodeid.startswith(self._tests))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of pytest-xdist has ended."""
        if told := getattr(node, "workeroutput", {}).get("pure_coverage"):
            data = CoverageData(no_disk=True)
            data.loads(told)
            self._coverage.get_data().update(data)
            data.close(force=True)  # it is in memory: Python 3.13 warns of what is left to the collector

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._trace(False)
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["pure_coverage"] = self._coverage.get_data().dumps()
            self._coverage.get_data().close(force=True)
            return
        for place, held in HELD.items():
            report = io.StringIO()
            try:
                reached = self._coverage.report(
                    include=_patterns(place), file=report, show_missing=True, skip_covered=True, precision=1
                )
            except NoDataError:
                reached = 0.0
            if reached < held:
                self._low.append(f"{place}: {reached:.1f} % of {held:.1f} %\n{report.getvalue()}")
        self._coverage.get_data().close(force=True)
        if self._low and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for low in self._low:
            terminalreporter.section("coverage is lower than it was")
            terminalreporter.write_line(low)


def pytest_configure(config: pytest.Config) -> None:
    has_workers = bool(config.getoption("numprocesses", None))
    config.pluginmanager.register(PureCoverage(traces=not has_workers or hasattr(config, "workerinput")))
