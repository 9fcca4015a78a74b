"""Where gVisor differs from the kernel that containers share: what ends one process there ends the sandbox here. The
scenarios (tests/sandbox/test_scenarios.py) hold for both but for these."""

import pytest

from app.errors import SandboxGone
from tests.sandbox.backends import BACKENDS, printed, scenario
from tests.sandbox.fakes import chunks_of, run

pytestmark = pytest.mark.docker

OPENER, _ = BACKENDS["docker with gVisor"]
MEMORY_BOMB = "kept = []\nwhile True:\n    kept.append(bytearray(b'x' * 10_000_000))\n"
FORK_BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""


@pytest.mark.parametrize("bomb", [MEMORY_BOMB, FORK_BOMB], ids=["memory", "processes"])
async def test_a_bomb_costs_the_session_and_no_other_and_says_what_it_may_have_been(bomb: str) -> None:
    async with scenario(OPENER) as pool, pool.checkout(60) as neighbour:
        await printed(neighbour, "kept = 1\n")
        async with pool.checkout(60) as worker:
            with pytest.raises(SandboxGone, match="runs out of memory or of processes"):
                await run(worker, chunks_of(bomb), timeout_s=None)
        assert await printed(neighbour, "print(kept)\n") == "1\n"


async def test_code_has_another_kernel_and_another_user_than_the_supervisor() -> None:
    async with scenario(OPENER) as pool, pool.checkout(60) as worker:
        source = """
import os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print("gVisor" in open("/proc/version").read() or os.uname().release == "4.4.0")
print(os.getuid() >= 64_000, os.stat("/proc/1").st_uid, status["CapEff"].strip(), status["CapPrm"].strip())
try:
    os.setuid(0)
except PermissionError:
    print("no way back")
os.close(os.open("/dev/stdout", os.O_WRONLY))
"""
        none = "0" * 16
        assert await printed(worker, source) == f"True\nTrue 0 {none} {none}\nno way back\n"
