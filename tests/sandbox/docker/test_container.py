import json

from app.sandbox.docker.backend import SECCOMP_PROFILE
from app.sandbox.docker.container import container_config
from app.sandbox.limits import SandboxLimits
from sandbox_image.protocol import WORK_FOLDER


def config_of(**changes: object) -> dict[str, object]:
    arguments: dict[str, object] = {
        "image": "image",
        "arguments": ["--stdio"],
        "labels": {},
        "limits": SandboxLimits(),
        "seccomp_profile": "{}",
        "runtime": None,
        "uid": 300_007,
        "attach_stdio": True,
        "mount": None,
    }
    return container_config(**{**arguments, **changes})  # type: ignore[arg-type]


def host_config(config: dict[str, object]) -> dict[str, object]:
    host = config["HostConfig"]
    assert isinstance(host, dict)
    return host


def test_every_writable_file_system_is_bounded_in_bytes_and_in_files() -> None:
    limits = SandboxLimits(work_bytes=32 << 20, tmp_bytes=16 << 20, shared_bytes=8 << 20)
    tmpfs = host_config(config_of(limits=limits))["Tmpfs"]
    assert isinstance(tmpfs, dict)
    assert {path: options.split(",")[:2] for path, options in tmpfs.items()} == {
        WORK_FOLDER: [f"size={32 << 20}", "nr_inodes=2048"],
        "/tmp": [f"size={16 << 20}", "nr_inodes=1024"],
        "/dev/shm": [f"size={8 << 20}", "nr_inodes=1024"],
    }


def test_nothing_of_the_host_is_mounted_unless_a_socket_is_and_then_read_only() -> None:
    assert not {"Mounts", "Binds", "VolumesFrom"} & set(host_config(config_of()))
    with_socket = host_config(config_of(mount=("/host/folder", "/inside"), attach_stdio=False))
    assert with_socket["Mounts"] == [{"Type": "bind", "Source": "/host/folder", "Target": "/inside", "ReadOnly": True}]


def test_the_runtime_is_the_default_of_the_engine_unless_named() -> None:
    assert "Runtime" not in host_config(config_of())
    assert host_config(config_of(runtime="runsc"))["Runtime"] == "runsc"


def test_the_user_of_a_container_owns_its_work_folder() -> None:
    config = config_of(uid=300_007)
    assert config["User"] == "300007:300007"
    assert "uid=300007,gid=300007" in host_config(config)["Tmpfs"][WORK_FOLDER]  # type: ignore[index]


def test_threads_of_gvisor_do_not_count_as_the_program_s() -> None:
    limits = SandboxLimits(processes=40)
    assert host_config(config_of(limits=limits))["PidsLimit"] == 44
    pids_limit = host_config(config_of(limits=limits, runtime="runsc"))["PidsLimit"]
    assert isinstance(pids_limit, int)
    assert pids_limit > 40 * 8


def test_the_shipped_seccomp_profile_denies_by_default_and_allows_no_dangerous_call() -> None:
    profile = json.loads(SECCOMP_PROFILE.read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    allowed = {name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    dangerous = {
        *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "mount", "umount2", "pivot_root"),
        *("unshare", "setns", "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key"),
        *("io_uring_setup", "io_uring_enter", "io_uring_register", "init_module", "kexec_load", "reboot", "chroot"),
        *("open_by_handle_at", "name_to_handle_at", "fanotify_init", "quotactl", "swapon", "acct", "personality"),
        *("clock_settime", "settimeofday", "syslog", "iopl", "ioperm", "clone3", "sync"),
    }
    assert not allowed & dangerous
    families = [rule["args"] for rule in profile["syscalls"] if "socket" in rule["names"]]
    assert [args[0]["value"] for args in families] == [1, 2, 10]
    pairs = [rule.get("args") for rule in profile["syscalls"] if "socketpair" in rule["names"]]
    assert pairs == families
