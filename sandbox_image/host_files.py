"""Supervisor. Files of /proc that tell of the whole machine, and of no namespace: sandboxes see nothing in them."""

from __future__ import annotations

from typing import Final

HIDDEN: Final = tuple(
    f"/proc/{name}"
    for name in (
        *("buddyinfo", "consoles", "diskstats", "dma", "interrupts", "iomem", "ioports", "kcore", "key-users", "keys"),
        *("kmsg", "latency_stats", "locks", "modules", "mtrr", "pagetypeinfo", "partitions", "sched_debug"),
        *("slabinfo", "softirqs", "swaps", "sys/kernel/random/boot_id", "timer_list", "timer_stats", "vmallocinfo"),
        *("schedstat", "zoneinfo"),
    )
)
