"""Whether bubblewrap was refused what it needs, and what whoever runs the gateway can do about it."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

#: What the launcher (as root), or bubblewrap, says last where a container, the kernel or a security module refuses
#: namespaces or the mounts in them. Nothing of it changes by trying again.
_REFUSAL: Final = re.compile(
    r"Operation not permitted: 'unshare'"
    r"|bwrap: (?:No permissions to creat|Creating new namespace failed|setting up [ug]id map|pivot_root|loopback: )"
    r"|bwrap: (?:Can't mount proc on|Failed to make / slave)"
)
#: Settings of the kernel that refuse user namespaces, with the value that allows them.
_SYSCTLS: Final = {
    "user.max_user_namespaces": ("0", "15000"),
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
}
#: Files that container engines leave in their containers.
_CONTAINER_MARKS: Final = ("/.dockerenv", "/run/.containerenv")
_IN_A_CONTAINER: Final = (
    "start this container as an ordinary user with `--user 1000 --security-opt seccomp=unconfined --security-opt "
    "systempaths=unconfined` (and `--security-opt apparmor=unconfined` where the host has AppArmor)"
)
_OTHER_WAYS: Final = (
    "or set EAGER_SANDBOX=docker, which gives each sandbox a container of its own (in a container: mount the engine's "
    "socket, `-v /var/run/docker.sock:/var/run/docker.sock`); or, where this {place} may be all that isolates the "
    "code, set EAGER_UNISOLATED=true"
)


def last_line(said: str) -> str:
    """Of a traceback it is the reason, without the files of this machine."""
    return said.splitlines()[-1] if said else "it said nothing"


def is_refused(said: str) -> bool:
    return _REFUSAL.search(last_line(said)) is not None


def advice(said: str) -> str:
    """One paragraph: what is missing, and each way out with its exact options."""
    place = "container" if _in_container() else "machine"
    return (
        f"no sandbox can be started: this {place} does not allow the namespaces and mounts that bubblewrap needs "
        f"({last_line(said)}; {sysctls()}). Either {_permit(place)}; {_OTHER_WAYS.format(place=place)}."
    )


def sysctls() -> str:
    """What this host says about user namespaces."""
    found = [f"{name}={value}" for name, value in _values().items()]
    return ", ".join(found) or "no sysctl on user namespaces"


def _permit(place: str) -> str:
    values = _values()
    settings = [f"sysctl -w {name}={good}" for name, (bad, good) in _SYSCTLS.items() if values.get(name) == bad]
    ways = [f"as root of the host run `{' && '.join(settings)}`"] if settings else []
    if place == "container":
        ways.append(_IN_A_CONTAINER)
    return ", and ".join(ways) or "have this machine's security module allow user namespaces"


def _values() -> dict[str, str]:
    found = {}
    for name in _SYSCTLS:
        with contextlib.suppress(OSError):
            found[name] = Path("/proc/sys", name.replace(".", "/")).read_text().strip()
    return found


def _in_container() -> bool:
    return "container" in os.environ or any(map(os.path.exists, _CONTAINER_MARKS))
