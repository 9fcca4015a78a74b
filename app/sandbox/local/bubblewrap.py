"""The command lines of bubblewrap, for one sandbox and for the zygote of many (pure)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox_image.host_files import HIDDEN
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


_OWN_NAMESPACES: Final = (
    "--unshare-pid",
    "--unshare-net",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
)
#: Over its own user namespace, for the mounts, network, user and limits of its forks.
_ZYGOTE_CAPABILITIES: Final = (
    "CAP_SYS_ADMIN",
    "CAP_NET_ADMIN",
    "CAP_SETUID",
    "CAP_SETGID",
)
#: As ``bwrap --dev`` has them.
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS: Final = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the file systems in memory, in bytes."""

    work: int
    tmp: int
    shared: int

    def by_folder(self) -> dict[str, int]:
        return {"/tmp": self.tmp, "/dev/shm": self.shared, WORK_FOLDER: self.work}  # noqa: S108 - inside


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
    line = [bwrap, "--unshare-user", *_OWN_NAMESPACES, "--disable-userns", "--cap-drop", "ALL", "--hostname", HOSTNAME]
    line += [*_identity(USER), *_root(etc)]
    # Settings of its own IPC namespace would be the sandbox's to change.
    line += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
    for name in filter(os.path.exists, HIDDEN):
        line += ["--ro-bind", "/dev/null", name]
    for folder, size in sizes.by_folder().items():
        line += ["--perms", "0755" if folder == WORK_FOLDER else "1777", "--size", str(size), "--tmpfs", folder]
    line += _read_only(binds)
    line += ["--seccomp", str(seccomp_fd), "--info-fd", str(info_fd)]
    # The option is -u in most shells and -p in dash.
    limit = f'ulimit -u {processes} 2>/dev/null || ulimit -p {processes} || exit 1; exec "$@"'
    return [*line, "--", "/bin/sh", "-c", limit, "sh", *command]


def zygote_command_line(
    *,
    bwrap: str,
    binds: Sequence[tuple[str, str]],
    etc: Sequence[tuple[int, str]],
    users: bool,
    command: Sequence[str],
) -> list[str]:
    """
    Args:
        users: sandboxes have uids of their own, and bubblewrap runs as user 0 of a namespace that has them. Else there
            is one user, the gateway's, and no user 0: it would own what is hidden in /proc from the sandbox's user.
    """
    line = [bwrap, *_OWN_NAMESPACES, "--cap-drop", "ALL"]
    for capability in _ZYGOTE_CAPABILITIES:
        line += ["--cap-add", capability]
    line += _identity(None) if users else ["--unshare-user", *_identity(USER)]
    # Bubblewrap makes folders on the way to a mount for its own user alone.
    for folder in _folders_above([target for _, target in binds]):
        line += ["--perms", "0755", "--dir", folder]
    line += [*_root(etc), "--proc", "/proc"]
    # Not --dev, which nests two user namespaces where the user is not 0: the second has no power over the first's.
    line += ["--perms", "0755", "--tmpfs", "/dev", "--dir", "/dev/pts", "--dir", "/dev/shm"]  # noqa: S108 - inside
    for name in _DEVICES:
        line += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for target, name in _DEVICE_LINKS:
        line += ["--symlink", target, f"/dev/{name}"]
    for folder in ("/tmp", WORK_FOLDER):  # noqa: S108 - inside
        line += ["--perms", "0755", "--tmpfs", folder]
    return [*line, *_read_only(binds), "--", *command]


def _folders_above(targets: Sequence[str]) -> list[str]:
    paths = [Path(target) for target in (*targets, *_HOST_ETC, "/etc/passwd", WORK_FOLDER)]
    kept = {str(parent) for path in paths for parent in path.parents} - {"/", "/usr", "/tmp"}  # noqa: S108 - inside
    return sorted(folder for folder in kept if not folder.startswith(("/usr/", "/tmp/")))  # noqa: S108


def _identity(user: int | None) -> list[str]:
    """``user``: seen in a namespace of its own; None: stay who we are."""
    line = ["--new-session", "--die-with-parent", "--as-pid-1", "--clearenv"]
    if user is not None:
        line += ["--uid", str(user), "--gid", str(user)]
    for name, value in ENVIRONMENT.items():
        line += ["--setenv", name, value]
    return line


def _root(etc: Sequence[tuple[int, str]]) -> list[str]:
    line = ["--ro-bind", "/usr", "/usr"]
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
    return line


def _read_only(binds: Sequence[tuple[str, str]]) -> list[str]:
    """What lies over the mounts above it: one may lie in /tmp."""
    line = []
    for source, target in binds:
        line += ["--ro-bind", source, target]
    return [*line, "--chdir", WORK_FOLDER, "--remount-ro", "/dev", "--remount-ro", "/"]
