from pathlib import Path

from app.sandbox.local.capacity import machine_memory, rooms_in

GiB = 1 << 30


def test_half_of_the_memory_is_for_sandboxes_within_bounds() -> None:
    assert rooms_in(8 * GiB, each=64 << 20) == 64
    assert rooms_in(8 * GiB, each=192 << 20) == 21
    assert rooms_in(GiB // 8, each=64 << 20) == 4
    assert rooms_in(1024 * GiB, each=64 << 20) == 256


def test_the_least_limit_of_the_groups_we_are_in_counts(tmp_path: Path) -> None:
    inner = tmp_path / "memory" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (inner.parent / "memory.limit_in_bytes").write_text("1048576\n")
    own = tmp_path / "own"
    own.write_text("4:memory:/a/b\n1:cpu:/\n0::/\n")
    assert machine_memory(root=tmp_path, own=own) == 1 << 20


def test_a_group_without_limit_is_all_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "memory.max").write_text("max\n")
    own = tmp_path / "own"
    own.write_text("0::/a\n")
    machine = machine_memory(root=tmp_path, own=tmp_path / "nothing")
    assert machine_memory(root=tmp_path, own=own) == machine > 1 << 26
    (tmp_path / "a" / "memory.max").write_text("2097152\n")
    assert machine_memory(root=tmp_path, own=own) == 2 << 20
