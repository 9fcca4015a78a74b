"""What a sandbox's container may do: the body of the engine's ContainerCreate (pure)."""

from __future__ import annotations

from typing import Any, Final

from app.sandbox.limits import SandboxLimits
from sandbox_image.protocol import WORK_FOLDER

#: The supervisor and its zygote, which the limit of processes also counts.
_OWN_PROCESSES: Final = 4
#: With gVisor the limit counts threads of the host: some 50 of its own kernel, and 5 for each process inside (measured
#: with the platform ptrace). Where it is reached that kernel ends, and the sandbox with it.
_GVISOR_THREADS: Final = 100
_GVISOR_THREADS_PER_PROCESS: Final = 8
#: What the supervisor has over the program. With gVisor, not to be dumpable does not keep one's descriptors from a
#: process of the same uid. So it is root, of a kernel that is the sandbox's own, and the program is not.
_GVISOR_SUPERVISOR: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
#: Of 1024, the weight of any other container: under load a gateway beside them is scheduled first.
_CPU_SHARES: Final = 256
#: Before anything of the host's, the kernel takes a sandbox when memory runs out.
_OOM_SCORE_ADJ: Final = 500
#: In-memory file systems are bounded in files, too: an empty file costs about 1 KiB of memory that no size counts.
_BYTES_PER_INODE: Final = 16 * 1024
_MIN_INODES: Final = 1024


def container_config(
    *,
    image: str,
    arguments: list[str],
    labels: dict[str, str],
    limits: SandboxLimits,
    seccomp_profile: str,
    runtime: str | None,
    uid: int,
    attach_stdio: bool,
    mount: tuple[str, str] | None,
) -> dict[str, Any]:
    """
    Args:
        arguments: of the image's entry point.
        uid: user and group of all its processes.
        attach_stdio: stdin and stdout are the stream; the container's stdin closes with the connection, and the
            supervisor ends with it.
        mount: (folder of the host, folder inside), read-only.
    """
    host: dict[str, Any] = {
        "AutoRemove": True,  # a gateway that was killed leaves nothing: supervisors end with their stream
        "NetworkMode": "none",
        "IpcMode": "private",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true", f"seccomp={seccomp_profile}"],
        "PidsLimit": _pids_limit(limits.processes + _OWN_PROCESSES, runtime),
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,  # equal: no swap
        "NanoCpus": int(limits.cpus * 1e9),
        "CpuShares": _CPU_SHARES,
        "OomScoreAdj": _OOM_SCORE_ADJ,
        "ShmSize": limits.shared_bytes,
        "Tmpfs": {
            WORK_FOLDER: _tmpfs(limits.work_bytes, f"mode=0700,uid={uid},gid={uid},exec"),
            "/tmp": _tmpfs(limits.tmp_bytes, "mode=1777,exec"),  # noqa: S108 - inside
            "/dev/shm": _tmpfs(limits.shared_bytes, "mode=1777,noexec"),  # noqa: S108 - inside
        },
        "Ulimits": [
            _ulimit("core", 0),
            _ulimit("nofile", limits.open_files),
            _ulimit("fsize", limits.file_bytes),
        ],
        "LogConfig": {"Type": "none"},  # json-file doubles the engine's work under output
        "Init": False,  # PID 1 is the supervisor, which reaps
        "RestartPolicy": {"Name": "no"},
    }
    if runtime is not None:
        host["Runtime"] = runtime
    if mount is not None:
        # A mount, not a bind: if the engine does not see the folder it refuses, where a bind would make an empty one.
        source, target = mount
        host["Mounts"] = [{"Type": "bind", "Source": source, "Target": target, "ReadOnly": True}]
    user = uid
    if is_gvisor(runtime):
        user, arguments = 0, [*arguments, "--uid", str(uid)]
        host["CapAdd"] = list(_GVISOR_SUPERVISOR)
    return {
        "Image": image,
        "Cmd": arguments,
        "User": f"{user}:{user}",
        "Hostname": "sandbox",
        "WorkingDir": WORK_FOLDER,
        "Labels": labels,
        "StopSignal": "SIGKILL",  # the supervisor ignores all others: an engine that stops need not wait for it
        "Tty": False,
        "OpenStdin": attach_stdio,
        "StdinOnce": attach_stdio,
        "AttachStdin": attach_stdio,
        "AttachStdout": attach_stdio,
        "AttachStderr": True,
        "HostConfig": host,
    }


def is_gvisor(runtime: str | None) -> bool:
    """By the name under which the engine knows it: "runsc", "runsc-kvm", ..."""
    return runtime is not None and "runsc" in runtime


def _pids_limit(processes: int, runtime: str | None) -> int:
    return _GVISOR_THREADS + _GVISOR_THREADS_PER_PROCESS * processes if is_gvisor(runtime) else processes


def _tmpfs(size_bytes: int, options: str) -> str:
    inodes = max(_MIN_INODES, size_bytes // _BYTES_PER_INODE)
    return f"size={size_bytes},nr_inodes={inodes},nosuid,nodev,{options}"


def _ulimit(name: str, value: int) -> dict[str, Any]:
    return {"Name": name, "Soft": value, "Hard": value}
