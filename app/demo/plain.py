"""The timeline as plain lines, for logs and pipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.demo.timeline import Timeline, printable


def lines_of(timeline: Timeline, event: Mapping[str, Any]) -> list[str]:
    """What to print for an event that was just applied to ``timeline``."""
    return [f"{timeline.elapsed_ms / 1000:7.3f} s  {line}" for line in _lines_after_time(timeline, event)]


def _lines_after_time(timeline: Timeline, event: Mapping[str, Any]) -> list[str]:
    match event.get("type"):
        case "start":
            return [f"start    {timeline.model}"]
        case "chunk":
            code = timeline.codes[str(event["call_id"])]
            gated = f"  [{event['gated']}]" if event.get("gated") else ""
            return [f"chunk    {event['chunk']:>3}  {_headline(code.source(event['chunk']))}{gated}"]
        case "exec.start":
            return [f"run      {', '.join(map(str, event['chunks'])) or '(end of the code)'}"]
        case "exec.output":
            return [f"{event.get('stream', ''):<8} {line}" for line in printable(event.get("text", "")).splitlines()]
        case "exec.result":
            return [f"result   {line}" for line in printable(event.get("repr") or "").splitlines()]
        case "exec.end":
            return [f"ran      {event['status']}, {event['duration_ms']:.1f} ms"]
        case "exec.error" | "error":
            return [f"error    {timeline.problems[-1]}"]
        case "interrupt":
            return [f"stop     generation stopped early: {timeline.interrupted}"]
        case "turn.end":
            return [f"turn     generation over ({event.get('finish_reason')})"]
        case "done":
            return ["done"]
        case _:
            return []


def _headline(source: str) -> str:
    """The first line that says something."""
    lines = [line for line in printable(source).splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return f"{lines[0][:80]}{' ...' if len(lines) > 1 else ''}" if lines else "(comments)"
