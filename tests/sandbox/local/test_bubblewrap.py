from app.sandbox.local.bubblewrap import Sizes, command_line


def options(**changes: object) -> list[str]:
    arguments: dict[str, object] = {
        "bwrap": "/x/bwrap",
        "binds": [("/tmp/0", "/root/python")],
        "sizes": Sizes(work=3, tmp=2, shared=1),
        "etc": [(7, "/etc/passwd")],
        "seccomp_fd": 8,
        "info_fd": 9,
        "processes": 64,
        "command": ["/root/python/bin/python", "-I"],
    }
    return command_line(**{**arguments, **changes})  # type: ignore[arg-type]


def follows(line: list[str], *words: str) -> bool:
    return any(line[at : at + len(words)] == list(words) for at in range(len(line)))


def test_every_namespace_is_its_own_and_no_capability_is_left() -> None:
    line = options()
    for option in ("user", "pid", "net", "ipc", "uts"):
        assert f"--unshare-{option}" in line
    for words in (("--disable-userns",), ("--cap-drop", "ALL"), ("--new-session",), ("--die-with-parent",)):
        assert follows(line, *words)
    for words in (("--clearenv",), ("--as-pid-1",), ("--uid", "65532"), ("--seccomp", "8"), ("--info-fd", "9")):
        assert follows(line, *words)


def test_nothing_is_bound_to_be_written_and_the_root_is_made_read_only_last() -> None:
    line = options()
    assert "--bind" not in line
    assert "--dev-bind" not in line
    assert line.index("--remount-ro") > max(at for at, word in enumerate(line) if word in ("--ro-bind", "--tmpfs"))


def test_file_systems_in_memory_have_sizes() -> None:
    line = options()
    assert follows(line, "--size", "3", "--tmpfs", "/mnt/data")
    assert follows(line, "--size", "2", "--tmpfs", "/tmp")
    assert follows(line, "--size", "1", "--tmpfs", "/dev/shm")
    assert line.count("--tmpfs") == line.count("--size") == 3


def test_what_is_bound_inside_tmp_comes_after_tmp() -> None:
    line = options(binds=[("/x", "/tmp/env")])
    assert line.index("/tmp/env") > line.index("--tmpfs")


def test_the_command_starts_behind_the_process_limit() -> None:
    line = options()
    shell = line[line.index("--") + 1 :]
    assert shell[:2] == ["/bin/sh", "-c"]
    assert "64" in shell[2]
    assert shell[3:] == ["sh", "/root/python/bin/python", "-I"]
