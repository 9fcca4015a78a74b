import subprocess
import sys
from dataclasses import replace

import pytest

from app.sandbox.docker.owner import Owner

PRINT_OWNER = "from app.sandbox.docker.owner import Owner; print(Owner.current())"


def test_a_label_names_the_same_process_when_read_back() -> None:
    owner = Owner.current()
    assert Owner.parse(str(owner)) == owner
    assert not owner.is_gone()


def test_a_process_that_has_ended_is_gone() -> None:
    label = subprocess.run([sys.executable, "-c", PRINT_OWNER], capture_output=True, check=True, text=True).stdout
    owner = Owner.parse(label.strip())
    assert owner is not None
    assert owner.is_gone()


def test_a_process_that_got_the_pid_of_another_does_not_pass_for_it() -> None:
    assert replace(Owner.current(), started="1").is_gone()


@pytest.mark.parametrize("change", [{"boot": "another"}, {"pid_namespace": "1"}], ids=["boot", "pid namespace"])
def test_nothing_is_known_of_processes_elsewhere(change: dict[str, str]) -> None:
    owner = replace(Owner.current(), started="1", **change)  # type: ignore[arg-type]
    assert not owner.is_gone()


@pytest.mark.parametrize("label", ["", "a/b/c", "a/b/one/d", "a/b/1/d/e"])
def test_labels_that_are_not_ours_name_nobody(label: str) -> None:
    assert Owner.parse(label) is None
