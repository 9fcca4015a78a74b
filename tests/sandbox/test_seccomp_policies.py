"""The two policies side by side.

They differ in kind. A container's profile lists what is allowed, since the engine's own default would be put in its
place. The filter of the embedded sandbox lists what is denied: it stands behind namespaces without capabilities, and is
made here, where no library knows the numbers of all calls. So what the filter denies, the profile must not allow; and
what both look at more closely, they judge alike.
"""

import errno
import json
from typing import Any

from app.sandbox.docker.backend import SECCOMP_PROFILE
from app.sandbox.local import seccomp

RULES: list[dict[str, Any]] = json.loads(SECCOMP_PROFILE.read_text())["syscalls"]


def rules_of(call: str) -> list[dict[str, Any]]:
    return [rule for rule in RULES if call in rule["names"]]


def test_what_one_denies_the_other_does_not_allow() -> None:
    allowed = {name for rule in RULES if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    assert not allowed & seccomp.DENIED.keys()


def test_new_calls_for_mounts_are_known_to_both() -> None:
    for call in ("statmount", "listmount", "open_tree_attr"):
        assert call in seccomp.DENIED
        assert not rules_of(call)


def test_what_both_look_at_they_judge_alike() -> None:
    (clone,), (clone3,), (prlimit,) = rules_of("clone"), rules_of("clone3"), rules_of("prlimit64")
    assert clone["args"][0]["value"] == seccomp._NEW_NAMESPACES
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", errno.ENOSYS)
    assert prlimit["args"] == [{"index": 0, "value": 0, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]
    families = [rule["args"][0]["value"] for rule in rules_of("socket")]
    assert families == list(seccomp._FAMILIES)
    assert rules_of("socketpair") == rules_of("socket")
