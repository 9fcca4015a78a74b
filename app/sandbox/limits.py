"""What one sandbox may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """
    Attributes:
        memory_bytes: of all its processes together, with the file systems, all of which are in memory. Without a
            writable cgroup a local sandbox has no such sum: each process may use that much.
        processes: also threads.
        file_bytes: of one file.
        work_bytes, tmp_bytes, shared_bytes: of the work folder, of ``/tmp`` and of ``/dev/shm``.
    """

    memory_bytes: int = 1 << 30
    processes: int = 128
    cpus: float = 1.0
    open_files: int = 1024
    file_bytes: int = 256 << 20
    work_bytes: int = 256 << 20
    tmp_bytes: int = 256 << 20
    shared_bytes: int = 64 << 20
