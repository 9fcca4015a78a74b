"""Three tenants who work, with and without a fourth who does all harm that it can at the same time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

import aiohttp
from rich.console import Console

from loadtests.hostile import OTHER_KEYS, attacked, work
from loadtests.phases import Phase

#: Between two requests of a tenant.
_PAUSE_S: Final = 0.5


async def measure_tenants(backend: str, seconds: float, console: Console) -> Sequence[Phase]:
    """Half of the time alone, half of it beside the hostile tenant."""
    alone, beside = Phase("alone"), Phase("beside a hostile tenant")
    async with attacked(backend) as (running, http):
        console.print(f"tenants: alone, {seconds / 2:g} s")
        await _work(http, running.url, alone, seconds / 2)
        console.print(f"tenants: beside a hostile one, {seconds / 2:g} s")
        # Attackers have machines of their own: here they get what is left of this one.
        program = ("nice", "-n", "19", sys.executable, "-m", "loadtests.hostile", running.url)
        attacker = await asyncio.create_subprocess_exec(*program, stderr=subprocess.DEVNULL)
        try:
            await _work(http, running.url, beside, seconds / 2)
        finally:
            attacker.terminate()
            await attacker.wait()
    return alone, beside


async def _work(http: aiohttp.ClientSession, url: str, phase: Phase, seconds: float) -> None:
    until = time.monotonic() + seconds

    async def tenant(key: str) -> None:
        while time.monotonic() < until:
            begun = time.monotonic()
            if await work(http, url, key) == "200":
                phase.seconds.append(time.monotonic() - begun)
            else:
                phase.refused += 1
            await asyncio.sleep(_PAUSE_S)

    await asyncio.gather(*map(tenant, OTHER_KEYS))
