import os

import pytest

from app.sandbox.local import permission

REFUSED = [
    "Traceback (most recent call last):\n  ...\nPermissionError: [Errno 1] Operation not permitted: 'unshare'",
    "bwrap: No permissions to creating new namespace, likely because the kernel does not allow it.",
    "bwrap: No permissions to create new namespace, likely because the kernel does not allow it.",
    "bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded (ENOSPC)",
    "bwrap: setting up uid map: Permission denied",
    "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
    "bwrap: pivot_root: Operation not permitted",
    "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted",
]
OTHER = [
    "",
    "bwrap: Can't find source path /opt/python: No such file or directory",
    "bwrap: execvp /bin/sh: No such file or directory",
    "PermissionError: [Errno 1] Operation not permitted: 'unshare'\nbut this came last",
    "OSError: [Errno 12] Cannot allocate memory",
    "BlockingIOError: [Errno 11] Resource temporarily unavailable: 'unshare'",
]


@pytest.mark.parametrize("said", REFUSED)
def test_what_no_second_try_would_change_is_a_refusal(said: str) -> None:
    assert permission.is_refused(said)


@pytest.mark.parametrize("said", OTHER)
def test_what_may_pass_or_has_another_reason_is_none(said: str) -> None:
    assert not permission.is_refused(said)


@pytest.fixture
def sysctls(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of a machine where nothing refuses, and no container."""
    values = {"user.max_user_namespaces": "96365"}
    monkeypatch.setattr(permission, "_values", lambda: values)
    monkeypatch.setattr(permission, "_CONTAINER_MARKS", ())
    monkeypatch.delenv("container", raising=False)
    return values


def test_in_a_container_the_advice_is_a_paragraph_with_every_option(
    sysctls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permission, "_CONTAINER_MARKS", (os.devnull,))
    told = permission.advice(REFUSED[0])
    assert "\n" not in told
    for part in (
        "this container does not allow",
        "Operation not permitted: 'unshare'",
        "--user 1000 --security-opt seccomp=unconfined --security-opt systempaths=unconfined",
        "--security-opt apparmor=unconfined",
        "EAGER_SANDBOX=docker",
        "EAGER_UNISOLATED=true",
    ):
        assert part in told
    assert "sysctl -w" not in told


@pytest.mark.parametrize(
    ("name", "value", "command"),
    [
        ("kernel.unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("user.max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ],
)
def test_on_a_machine_the_setting_that_refuses_is_named_with_its_command(
    sysctls: dict[str, str], name: str, value: str, command: str
) -> None:
    sysctls[name] = value
    told = permission.advice(REFUSED[1])
    assert "this machine does not allow" in told
    assert f"{name}={value}" in told
    assert f"`{command}`" in told
    assert "--security-opt" not in told


def test_where_no_setting_refuses_a_security_module_does(sysctls: dict[str, str]) -> None:
    assert "security module" in permission.advice(REFUSED[4])
