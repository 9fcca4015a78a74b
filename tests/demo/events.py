"""Events of two requests, as the gateway sends them."""

from __future__ import annotations

from typing import Any

CODE = "import math\nfor i in range(2):\n    print(i)\nmath.pi\n"


def numbered(*events: tuple[float, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"seq": seq, "t_ms": t_ms, **event} for seq, (t_ms, event) in enumerate(events)]


def token(text: str) -> dict[str, Any]:
    return {"type": "token", "turn": 0, "channel": "code", "text": text, "call_id": "c1"}


def chunk(index: int, start: int, end: int, line: int, gated: str | None = None) -> dict[str, Any]:
    return {
        "type": "chunk", "call_id": "c1", "chunk": index, "start": start, "end": end, "line": line, "gated": gated
    }  # fmt: skip


def on_batch(kind: str, batch: int, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "call_id": "c1", "batch": batch, **fields}


START = {"type": "start", "id": "eager_1", "model": "demo", "session": "s", "container_id": "k"}
CODE_START = {"type": "code.start", "call_id": "c1", "turn": 0, "source": "fence", "language": "python"}
TIMING = {
    "ttft_ms": 100.0, "gen_ms": 1000.0, "exec_ms": 500.0, "nel_ms": 100.0, "e2el_ms": 1100.0,
    "serial_e2el_ms": 1500.0, "saved_ms": 400.0, "bound_ms": 1050.0, "chunks": 3, "batches": 2, "gates": {},
}  # fmt: skip
DONE = {"type": "done", "finish_reason": "stop", "usage": None, "timing": TIMING}

SUCCESS = numbered(
    (0, START),
    (100, {"type": "token", "turn": 0, "channel": "content", "text": "Here:\n"}),
    (101, CODE_START),
    (200, token(CODE[:12])),
    (201, chunk(0, 0, 12, 1)),
    (202, on_batch("exec.start", 0, chunks=[0])),
    (210, on_batch("exec.end", 0, status="ok", duration_ms=8.0)),
    (900, token(CODE[12:44] + "ma")),
    (901, chunk(1, 12, 44, 2)),
    (1000, token("th.pi\n")),
    (1000, chunk(2, 44, 52, 4)),
    (1000, on_batch("exec.start", 1, chunks=[1, 2])),
    (1000, {"type": "turn.end", "turn": 0, "finish_reason": "stop", "usage": None}),
    (1001, on_batch("exec.output", 1, stream="stdout", text="0\n1\n")),
    (1090, on_batch("exec.result", 1, repr="3.14159", data={"text/plain": "3.14159"}, images=[], display=False)),
    (1100, on_batch("exec.end", 1, status="ok", duration_ms=99.0)),
    (1100, {"type": "code.end", "call_id": "c1", "code": CODE, "status": "ok", "ran": 3, "chunks": 3}),
    (1100, DONE),
)

FAILURE = numbered(
    (0, START),
    (101, CODE_START),
    (200, token("x = 1\n1 / 0\nprint(x)\ny")),
    (201, chunk(0, 0, 6, 1)),
    (201, chunk(1, 6, 12, 2)),
    (201, chunk(2, 12, 21, 3)),
    (202, on_batch("exec.start", 0, chunks=[0, 1])),
    (
        210,
        on_batch("exec.error", 0, chunk=1, ename="ZeroDivisionError", evalue="division by zero", traceback="", line=2),
    ),
    (210, on_batch("exec.end", 0, status="error", duration_ms=8.0)),
    (211, {"type": "code.end", "call_id": "c1", "code": "", "status": "error", "ran": 1, "chunks": 3}),
    (212, {"type": "interrupt", "call_id": "c1", "reason": "error"}),
    (213, {"type": "turn.end", "turn": 0, "finish_reason": None, "usage": None}),
    (214, DONE),
)
