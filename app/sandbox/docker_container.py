"""What a sandbox's container may do: the body of the engine's ContainerCreate (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sandbox_image.protocol import WORK_FOLDER

#: User and group in the image.
UID: Final = 65532
#: The supervisor and its zygote, which the limit of processes also counts.
_OWN_PROCESSES: Final = 4
#: Before anything of the host's, the kernel takes a sandbox when memory runs out.
_OOM_SCORE_ADJ: Final = 500
#: In-memory file systems are bounded in files, too: an empty file costs about 1 KiB of memory that no size counts.
_BYTES_PER_INODE: Final = 16 * 1024
_MIN_INODES: Final = 1024


@dataclass(frozen=True, slots=True)
class DockerLimits:
    """Of one sandbox. ``memory_bytes`` includes what lies in its file systems, all of which are in memory."""

    memory_bytes: int = 1 << 30
    processes: int = 128
    cpus: float = 1.0
    open_files: int = 1024
    file_bytes: int = 256 << 20
    work_bytes: int = 256 << 20
    tmp_bytes: int = 256 << 20
    shared_bytes: int = 64 << 20


def container_config(
    *,
    image: str,
    arguments: list[str],
    labels: dict[str, str],
    limits: DockerLimits,
    seccomp_profile: str,
    runtime: str | None,
    attach_stdio: bool,
    mount: tuple[str, str] | None,
) -> dict[str, Any]:
    """
    Args:
        arguments: of the image's entry point.
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
        "PidsLimit": limits.processes + _OWN_PROCESSES,
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,  # equal: no swap
        "NanoCpus": int(limits.cpus * 1e9),
        "OomScoreAdj": _OOM_SCORE_ADJ,
        "ShmSize": limits.shared_bytes,
        "Tmpfs": {
            WORK_FOLDER: _tmpfs(limits.work_bytes, f"mode=0700,uid={UID},gid={UID},exec"),
            "/tmp": _tmpfs(limits.tmp_bytes, "mode=1777,noexec"),  # noqa: S108 - inside
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
    return {
        "Image": image,
        "Cmd": arguments,
        "User": f"{UID}:{UID}",
        "Hostname": "sandbox",
        "WorkingDir": WORK_FOLDER,
        "Labels": labels,
        "Tty": False,
        "OpenStdin": attach_stdio,
        "StdinOnce": attach_stdio,
        "AttachStdin": attach_stdio,
        "AttachStdout": attach_stdio,
        "AttachStderr": True,
        "HostConfig": host,
    }


def _tmpfs(size_bytes: int, options: str) -> str:
    inodes = max(_MIN_INODES, size_bytes // _BYTES_PER_INODE)
    return f"size={size_bytes},nr_inodes={inodes},nosuid,nodev,{options}"


def _ulimit(name: str, value: int) -> dict[str, Any]:
    return {"Name": name, "Soft": value, "Hard": value}
