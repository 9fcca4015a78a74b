"""The command line of bubblewrap for one sandbox (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox_image.protocol import WORK_FOLDER

#: Seen inside as a user without a name on the host.
USER: Final = 65532
HOSTNAME: Final = "sandbox"
#: Where the supervisor's own files are, inside.
SUPERVISOR_FOLDER: Final = "/opt/eager/sandbox_image"

#: What the supervisor starts with; it sets the environment of the code itself.
ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": WORK_FOLDER, "LANG": "C.UTF-8"}
#: Files of /etc that programs look for; the host's would say too much.
ETC_FILES: Final = {
    "passwd": f"sandbox:x:{USER}:{USER}::{WORK_FOLDER}:/usr/sbin/nologin\n",
    "group": f"sandbox:x:{USER}:\n",
    "hosts": f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
#: What of the host's /etc is shown: the linker's cache, Debian's choice of BLAS, fonts for matplotlib.
_HOST_ETC: Final = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts")
#: Top-level names that are links into /usr on a merged system, folders on others.
_USR_LINKS: Final = ("/bin", "/lib", "/lib64", "/sbin")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the file systems in memory, in bytes."""

    work: int
    tmp: int
    shared: int


def command_line(
    *,
    bwrap: str,
    binds: Sequence[tuple[str, str]],
    sizes: Sizes,
    etc: Sequence[tuple[int, str]],
    seccomp_fd: int,
    info_fd: int,
    processes: int,
    command: Sequence[str],
) -> list[str]:
    """
    Args:
        binds: (folder of the host, folder inside), read-only.
        etc: (descriptor to read from, file inside).
        processes: at most so many. Set inside, where only the sandbox's own count: from outside it would also count
            what else runs as this user.
    """
    line = [bwrap, "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    line += ["--unshare-cgroup-try", "--disable-userns", "--cap-drop", "ALL", "--new-session", "--die-with-parent"]
    line += ["--as-pid-1", "--hostname", HOSTNAME, "--uid", str(USER), "--gid", str(USER), "--clearenv"]
    for name, value in ENVIRONMENT.items():
        line += ["--setenv", name, value]
    line += ["--ro-bind", "/usr", "/usr"]
    for link in _USR_LINKS:
        path = Path(link)
        if path.is_symlink():
            line += ["--symlink", str(path.readlink()), link]
        elif path.is_dir():
            line += ["--ro-bind", link, link]
    for name in _HOST_ETC:
        line += ["--ro-bind-try", name, name]
    for fd, name in etc:
        line += ["--perms", "0444", "--file", str(fd), name]
    # Settings of its own IPC namespace would be the sandbox's to change.
    line += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
    for folder, size, mode in (
        ("/tmp", sizes.tmp, "1777"),  # noqa: S108 - inside
        ("/dev/shm", sizes.shared, "1777"),  # noqa: S108
        (WORK_FOLDER, sizes.work, "0755"),
    ):
        line += ["--perms", mode, "--size", str(size), "--tmpfs", folder]
    for source, target in binds:  # after the mounts above: one may lie in /tmp
        line += ["--ro-bind", source, target]
    line += ["--chdir", WORK_FOLDER, "--remount-ro", "/dev", "--remount-ro", "/"]
    line += ["--seccomp", str(seccomp_fd), "--info-fd", str(info_fd)]
    # The option is -u in most shells and -p in dash.
    limit = f'ulimit -u {processes} 2>/dev/null || ulimit -p {processes} || exit 1; exec "$@"'
    return [*line, "--", "/bin/sh", "-c", limit, "sh", *command]
