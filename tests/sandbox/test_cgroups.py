"""Over folders that look like a cgroup file system; the real one is tried by the scenarios."""

import os
from pathlib import Path

import pytest

from app.sandbox.cgroups import Limits, find_parent

LIMITS = Limits(memory_bytes=1 << 28, processes=40, cpus=1.5)


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    """The root of a v2 hierarchy; the gateway is in /service."""
    group = tmp_path / "cgroup" / "service"
    group.mkdir(parents=True)
    (group.parent / "cgroup.controllers").write_text("cpu memory pids")
    (group / "cgroup.controllers").write_text("cpuset cpu io memory pids")
    (group / "cgroup.subtree_control").write_text("")
    (tmp_path / "own").write_text("0::/service\n")
    return group


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """The root of v1 hierarchies; the gateway is in /service for memory, at the top for the others."""
    root = tmp_path / "cgroup"
    for folder in ("memory/service", "pids", "cpu,cpuacct"):
        (root / folder).mkdir(parents=True)
    (root / "cpu").symlink_to("cpu,cpuacct")
    (tmp_path / "own").write_text("4:memory:/service\n3:pids:/\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n")
    return root


def test_v2_has_one_group_for_all_limits(unified: Path, tmp_path: Path) -> None:
    parent = find_parent(root=unified.parent, own=tmp_path / "own")
    assert parent is not None
    cgroup = parent.create("3", LIMITS)
    assert cgroup.doors == [str(unified / "3" / "cgroup.procs")]
    assert cgroup.seen_at == "/sys/fs/cgroup"
    content = {file.name: file.read_text() for file in (unified / "3").iterdir()}
    assert content == {
        "memory.max": str(1 << 28),
        "memory.swap.max": "0",
        "pids.max": "40",
        "cpu.max": "150000 100000",
    }
    assert (unified / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"


def test_v2_without_the_controllers_is_no_place(unified: Path, tmp_path: Path) -> None:
    (unified / "cgroup.controllers").write_text("cpu")
    assert find_parent(root=unified.parent, own=tmp_path / "own") is None


def test_a_gateway_that_moved_to_its_leaf_uses_the_group_above(unified: Path, tmp_path: Path) -> None:
    (unified / "gateway").mkdir()
    (tmp_path / "own").write_text("0::/service/gateway\n")
    parent = find_parent(root=unified.parent, own=tmp_path / "own")
    assert parent is not None
    assert parent.create("0", LIMITS).folders == (unified / "0",)


def test_v1_has_a_group_for_each_controller(split: Path, tmp_path: Path) -> None:
    parent = find_parent(root=split, own=tmp_path / "own")
    assert parent is not None
    cgroup = parent.create("3", LIMITS)
    name = f"eager-{os.getpid()}"
    memory, pids, cpu = (split / "memory/service" / name / "3", split / "pids" / name / "3", split / "cpu" / name / "3")
    assert cgroup.folders == (memory, pids, cpu)
    assert cgroup.seen_at == "/sys/fs/cgroup/memory"
    assert (memory / "memory.limit_in_bytes").read_text() == str(1 << 28)
    assert (memory / "memory.memsw.limit_in_bytes").read_text() == str(1 << 28)
    assert (pids / "pids.max").read_text() == "40"
    assert (cpu / "cpu.cfs_quota_us").read_text() == "150000"


def test_v1_without_one_of_the_controllers_is_no_place(split: Path, tmp_path: Path) -> None:
    (tmp_path / "own").write_text("4:memory:/service\n")
    assert find_parent(root=split, own=tmp_path / "own") is None


def test_groups_of_a_gateway_that_was_killed_are_removed(split: Path, tmp_path: Path) -> None:
    dead, alive, foreign = (split / "pids" / name for name in ("eager-4194999", "eager-1", "other"))
    for folder in (dead / "0", alive / "0", foreign):
        folder.mkdir(parents=True)
    assert find_parent(root=split, own=tmp_path / "own") is not None
    assert (dead.exists(), alive.exists(), foreign.exists()) == (False, True, True)


def test_an_empty_group_is_removed_with_its_parent(split: Path, tmp_path: Path) -> None:
    parent = find_parent(root=split, own=tmp_path / "own")
    assert parent is not None
    cgroup = parent.create("3", LIMITS)
    for folder in cgroup.folders:  # files of a real group do not stand in the way of rmdir
        for file in folder.iterdir():
            file.unlink()
    cgroup.remove()
    cgroup.remove()
    parent.remove()
    assert not list(split.glob("**/eager-*"))


def test_a_group_that_stays_busy_is_an_error(split: Path, tmp_path: Path) -> None:
    parent = find_parent(root=split, own=tmp_path / "own")
    assert parent is not None
    with pytest.raises(OSError, match="not empty"):
        parent.create("3", LIMITS).remove(timeout_s=0)


def test_where_nothing_can_be_read_there_is_no_place(tmp_path: Path) -> None:
    assert find_parent(root=tmp_path, own=tmp_path / "missing") is None
