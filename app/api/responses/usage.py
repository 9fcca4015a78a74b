"""Usage in the words of ``/v1/responses``."""

from __future__ import annotations

from typing import Any

from app.pipeline.usage import Usage, count, totals


def response_usage(usage: Usage | None) -> dict[str, Any]:
    """Zeros where the upstream never told."""
    prompt, completion, total = totals(usage)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": _detail(usage, "prompt_tokens_details", "cached_tokens")},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": _detail(usage, "completion_tokens_details", "reasoning_tokens")},
        "total_tokens": total,
    }


def _detail(usage: Usage | None, group: str, name: str) -> int:
    details = (usage or {}).get(group)
    return count(details, name) if isinstance(details, dict) else 0
