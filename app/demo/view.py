"""Draws a timeline with rich: code with the state of each chunk, output, and what overlapped with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from app.demo.timeline import ChunkState, Span, Timeline, WrittenCode, printable

_MARKS: Final[Mapping[ChunkState | None, tuple[str, str]]] = {
    None: (" ", "dim"),
    "pending": ("○", "yellow"),
    "running": ("▶", "bold cyan"),
    "done": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "skipped": ("·", "dim"),
}
_STREAM_STYLES: Final = {"stdout": "", "stderr": "yellow", "result": "bold", "error": "bold red"}
_LABEL_WIDTH: Final = 12


def render(
    timeline: Timeline, *, title: str, now_ms: float, scale_ms: float, width: int, height: int
) -> RenderableType:
    """The whole picture, ``height`` lines high. Both bars span ``scale_ms``, or what has passed if that is more."""
    scale_ms = max(scale_ms, now_ms, 1.0)
    body_height = max(height - 5, 3)
    body = Table.grid(expand=True)
    body.add_column(ratio=3)
    body.add_column(ratio=2)
    rows = body_height - 2
    body.add_row(
        Panel(_tail(_code_lines(timeline), rows), title=title, title_align="left", height=body_height),
        Panel(_tail(_output_lines(timeline), rows), title="output", title_align="left", height=body_height),
    )
    return Group(body, bars(timeline, now_ms=now_ms, scale_ms=scale_ms, width=width), _status(timeline, now_ms))


def bars(timeline: Timeline, *, now_ms: float, scale_ms: float, width: int) -> RenderableType:
    """Generation above, execution below it; execution after the last token (NEL) in another colour."""
    cells = max(width - _LABEL_WIDTH - 2, 10)
    generated = timeline.generation[-1].end if timeline.generation else None
    above, below = [], []
    for cell in range(cells):
        begin, end = cell * scale_ms / cells, (cell + 1) * scale_ms / cells
        above.append("cyan" if _touches(timeline.generation, begin, end, now_ms) else "")
        late = generated is not None and begin >= generated
        below.append(("yellow" if late else "green") if _touches(timeline.execution, begin, end, now_ms) else "")
    return Group(_bar("generation", above), _bar("execution", below))


def summary(runs: Sequence[tuple[str, Timeline]]) -> RenderableType:
    """A table with a column per run, and the saving under it."""
    table = Table(title="milliseconds", title_justify="left", title_style="dim")
    table.add_column("")
    for name, _ in runs:
        table.add_column(name, justify="right")
    timings = [timeline.timing or {} for _, timeline in runs]
    for label, key in (
        ("time to first token", "ttft_ms"),
        ("first output", "first_output_ms"),
        ("first output of a serial run, estimated", "serial_first_output_ms"),
        ("generation", "gen_ms"),
        ("execution", "exec_ms"),
        ("execution after the last token (NEL)", "nel_ms"),
        ("end to end (E2EL)", "e2el_ms"),
        ("serial end to end, estimated (Eq. 1)", "serial_e2el_ms"),
        ("lower bound of end to end (Eq. 12)", "bound_ms"),
    ):
        table.add_row(label, *(_milliseconds(timing.get(key)) for timing in timings))
    table.add_row("chunks / batches", *(f"{timing.get('chunks')} / {timing.get('batches')}" for timing in timings))
    return Group(table, Text(saving(runs), style="bold"))


def saving(runs: Sequence[tuple[str, Timeline]]) -> str:
    """One sentence: the first run against the last if there are two, else against its own serial estimate."""
    timing = runs[0][1].timing or {}
    serial = (runs[-1][1].timing or {}).get("e2el_ms") if len(runs) > 1 else timing.get("serial_e2el_ms")
    e2el = timing.get("e2el_ms")
    if not serial or e2el is None:
        return "No timing came."
    how = "measured" if len(runs) > 1 else "estimated"
    return (
        f"{runs[0][0]}: {e2el / 1000:.2f} s end to end; serial: {serial / 1000:.2f} s ({how}). "
        f"Saved {(serial - e2el) / 1000:.2f} s, {(serial - e2el) / serial:.1%}."
    )


def _bar(label: str, styles: Sequence[str]) -> Text:
    """A cell per style, blank for none."""
    bar = Text(label.ljust(_LABEL_WIDTH))
    for style, stretch in groupby(styles):
        bar.append(("━" if style else " ") * len(list(stretch)), style=style)
    return bar


def _milliseconds(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else "-"


def _touches(spans: Sequence[Span], begin: float, end: float, now_ms: float) -> bool:
    return any(span.start < end and (now_ms if span.end is None else span.end) > begin for span in spans)


def _status(timeline: Timeline, now_ms: float) -> Text:
    states = [piece.state for code in timeline.codes.values() for piece in code.chunks.values()]
    status = Text(f"{now_ms / 1000:6.2f} s   {len(states)} chunks", style="dim")
    for state in ("done", "running", "pending", "failed", "skipped"):
        mark, style = _MARKS[state]
        if count := states.count(state):
            status.append(f"   {mark} {count} {state}", style=style)
    if timeline.interrupted:
        status.append("   generation was stopped early", style="bold red")
    return status


def _code_lines(timeline: Timeline) -> list[Text]:
    lines = []
    for code in timeline.codes.values():
        lines += _marked_lines(code)
    return lines


def _marked_lines(code: WrittenCode) -> list[Text]:
    highlighted = Syntax("", "python", theme="ansi_dark").highlight(printable(code.text))
    lines = []
    for state, line in zip(code.states_by_line(), highlighted.split("\n", allow_blank=True), strict=False):
        mark, style = _MARKS[state]
        if state in (None, "skipped"):
            line.stylize("dim")
        lines.append(Text.assemble((mark if line.plain.strip() else " ", style), " ", line))
    return lines


def _output_lines(timeline: Timeline) -> list[Text]:
    text = Text()
    for stream, said in timeline.output:
        text.append(said, style=_STREAM_STYLES.get(stream, ""))
    return list(text.split("\n"))


def _tail(lines: Sequence[Text], rows: int) -> Text:
    tail = Text("\n", no_wrap=True, overflow="ellipsis").join(lines[-rows:])
    tail.no_wrap, tail.overflow = True, "ellipsis"
    return tail
