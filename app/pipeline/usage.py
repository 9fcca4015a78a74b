"""Token counts of several upstream answers."""

from __future__ import annotations

import math
from typing import Any

Usage = dict[str, Any]

#: Marks a sum in which something was counted here, not by an upstream.
ESTIMATED = "estimated"


def add_usage(total: Usage | None, usage: Usage | None) -> Usage | None:
    """The sum, number by number, details included. A mark such as ``estimated`` of either side stays."""
    if total is None or usage is None:
        return usage if total is None else total
    return {key: _add(total.get(key), usage.get(key)) for key in {**total, **usage}}


def count(usage: Usage, name: str) -> int:
    """A number of tokens; 0 where the upstream told none."""
    value = usage.get(name)
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0


def totals(usage: Usage | None) -> tuple[int, int, int]:
    """Tokens of the prompt, of the answer, and of both."""
    usage = usage or {}
    prompt, completion = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    return prompt, completion, count(usage, "total_tokens") or prompt + completion


def estimated_usage(deltas: int) -> Usage:
    """What an answer cost that was cut short: the upstream never told. About one token came with each delta; the
    prompt's tokens are not known here."""
    return {"prompt_tokens": 0, "completion_tokens": deltas, "total_tokens": deltas, ESTIMATED: True}


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, dict) or isinstance(right, dict):
        return add_usage(left if isinstance(left, dict) else None, right if isinstance(right, dict) else None)
    if isinstance(left, bool) or isinstance(right, bool):
        return bool(left) or bool(right)
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left + right
    return right if right is not None else left
