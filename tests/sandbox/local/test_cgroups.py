"""Over folders that look like a cgroup file system; the real one is tried by the scenarios."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.sandbox.local import cgroups
from app.sandbox.local.cgroups import Limits, find_parent

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
    ours = unified / f"eager-{os.getpid()}"
    assert cgroup.doors == [str(ours / "3" / "cgroup.procs")]
    assert cgroup.seen_at == "/sys/fs/cgroup"
    content = {file.name: file.read_text() for file in (ours / "3").iterdir()}
    assert content == {
        "memory.max": str(1 << 28),
        "memory.swap.max": "0",
        "pids.max": "40",
        "cpu.max": "150000 100000",
    }
    for group in (unified, ours):
        assert (group / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert (ours / "cpu.weight").read_text() == "50"


def test_v2_without_the_controllers_is_no_place(unified: Path, tmp_path: Path) -> None:
    (unified / "cgroup.controllers").write_text("cpu")
    assert find_parent(root=unified.parent, own=tmp_path / "own") is None


def test_a_gateway_that_moved_to_its_leaf_uses_the_group_above(unified: Path, tmp_path: Path) -> None:
    (unified / "gateway").mkdir()
    (tmp_path / "own").write_text("0::/service/gateway\n")
    parent = find_parent(root=unified.parent, own=tmp_path / "own")
    assert parent is not None
    assert parent.create("0", LIMITS).folders == (unified / f"eager-{os.getpid()}" / "0",)


REAL = Path("/sys/fs/cgroup")
MOVES_IN = """
import os, sys
from pathlib import Path
from app.sandbox.local import cgroups
group, controllers = Path(sys.argv[1]), sys.argv[2:]
(group / "cgroup.procs").write_text("0")
cgroups._CONTROLLERS = tuple(controllers)
parent = group / f"eager-{os.getpid()}"
try:
    cgroups._unified_parent(group)
except PermissionError as error:  # no cpu.weight: that controller is not there
    assert error.filename == str(parent / "cpu.weight"), error
leaf = (group / "gateway/cgroup.procs").read_text().split()
print((group / "cgroup.procs").read_text().split(), leaf == [str(os.getpid())])
print(sorted((group / "cgroup.subtree_control").read_text().split()) == sorted(controllers), parent.exists())
if parent.exists():
    parent.rmdir()
"""


def test_a_real_v2_group_with_us_in_it_becomes_one_that_can_hold_limits(tmp_path: Path) -> None:
    """Those we use, or whatever controller a v2 hierarchy has to give here: memory and pids may be bound to v1."""
    roots = [root for root in (REAL, REAL / "unified") if (root / "cgroup.controllers").exists()]
    there = roots[0].joinpath("cgroup.controllers").read_text().split() if roots else []
    has_all = set(cgroups._CONTROLLERS) <= set(there)
    wanted = list(cgroups._CONTROLLERS) if has_all else there[:1]
    if not wanted or not os.access(roots[0] / "cgroup.subtree_control", os.W_OK):
        pytest.skip("no cgroup v2 hierarchy with a controller that we may write to")
    switches, group = roots[0] / "cgroup.subtree_control", roots[0] / f"eager-test-{os.getpid()}"
    ours = set(wanted) - set(switches.read_text().split())
    switches.write_text(" ".join(f"+{name}" for name in wanted))
    group.mkdir()
    try:
        command = [sys.executable, "-c", MOVES_IN, str(group), *wanted]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert said.stdout == f"[] True\nTrue {has_all}\n", said.stderr
    finally:
        for folder in (group / "gateway", group):
            folder.rmdir()
        if ours:
            switches.write_text(" ".join(f"-{name}" for name in ours))


def test_v2_a_group_with_others_in_it_is_emptied_into_the_leaf(
    unified: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel has it: EBUSY for as long as a process is in the group, and one process a write."""
    (unified / "cgroup.procs").write_text("12\n34\n")
    leaf = unified / "gateway" / "cgroup.procs"
    moved: list[str] = []
    write = Path.write_text

    def write_text(path: Path, text: str) -> int:
        if path == leaf:
            assert text.strip().isdecimal()
            moved.append(text)
        elif path == unified / "cgroup.subtree_control" and moved != ["12", "34"]:
            raise OSError(errno.EBUSY, "Device or resource busy", str(path))
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", write_text)
    assert find_parent(root=unified.parent, own=tmp_path / "own") is not None
    assert moved == ["12", "34"]


def test_v2_two_gateways_of_one_group_do_not_meet(
    unified: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = find_parent(root=unified.parent, own=tmp_path / "own")
    monkeypatch.setattr(os, "getpid", lambda: 1)
    second = find_parent(root=unified.parent, own=tmp_path / "own")
    assert first is not None
    assert second is not None
    assert first.create("0", LIMITS).folders != second.create("0", LIMITS).folders


def test_v2_stragglers_are_killed_by_the_kernel(unified: Path, tmp_path: Path) -> None:
    parent = find_parent(root=unified.parent, own=tmp_path / "own")
    assert parent is not None
    cgroup = parent.create("0", LIMITS)
    switch = cgroup.memory_folder / "cgroup.kill"
    switch.write_text("")
    with pytest.raises(OSError, match="not empty"):
        cgroup.remove(timeout_s=0)
    assert switch.read_text() == "1"


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
    assert (cpu.parent / "cpu.shares").read_text() == "512"


def test_v1_without_one_of_the_controllers_is_no_place(split: Path, tmp_path: Path) -> None:
    (tmp_path / "own").write_text("4:memory:/service\n")
    assert find_parent(root=split, own=tmp_path / "own") is None


@pytest.mark.local
def test_who_is_still_in_a_group_is_killed_with_it() -> None:
    parent = find_parent()
    if parent is None:
        pytest.skip("no cgroup that this user may write to")
    cgroup = parent.create("stragglers", LIMITS)
    with subprocess.Popen(["sleep", "60"]) as straggler:
        for door in cgroup.doors:
            Path(door).write_text(str(straggler.pid))
        cgroup.remove()
        assert straggler.wait(5) == -signal.SIGKILL
    assert not any(folder.exists() for folder in cgroup.folders)


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
        for file in (*folder.iterdir(), folder.parent / "cpu.shares"):
            file.unlink(missing_ok=True)
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
