from __future__ import annotations

import os
import subprocess
import sys

import pytest

from loadtests.process_tree import below, cpu_s, proportional_mb, shared_by_sandboxes

#: Works for a while and tells its child, which waits as long as it does.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
while time.process_time() < 0.1:
    pass
print(child.pid, flush=True)
input()
"""


def test_children_of_children_are_found_with_what_they_take() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    found = below(os.getpid())
    assert {parent.pid, child} <= found
    assert below(parent.pid) == {child}
    assert cpu_s([parent.pid]) >= 0.1
    assert proportional_mb([parent.pid, child]) > proportional_mb([child]) > 0
    assert shared_by_sandboxes([parent.pid, child]) == set()
    parent.communicate("\n")


def test_who_has_ended_counts_nothing() -> None:
    done = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    done.wait()
    assert below(done.pid) == set()
    assert cpu_s([done.pid]) == pytest.approx(0)
    assert proportional_mb([done.pid]) == pytest.approx(0)
