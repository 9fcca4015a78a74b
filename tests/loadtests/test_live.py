from __future__ import annotations

from loadtests.live import Answer, live_table

TIMING = {"gen_ms": 1000.0, "e2el_ms": 1010.0, "nel_ms": 10.0, "serial_e2el_ms": 1200.0}


def answer(status: str, *, stopped: bool = False) -> Answer:
    return Answer(task="t", benchmark="DABench", backend="docker", status=status, stopped=stopped, timing=TIMING)


def test_answers_that_failed_have_a_row_of_their_own() -> None:
    lines = live_table([answer("ok"), answer("ok"), answer("error", stopped=True)]).splitlines()
    assert lines[2:] == [
        "| docker | DABench | failed | 1 | 1 | 95.0 % | 15.8 % |",
        "| docker | DABench | ran | 2 | 0 | 95.0 % | 15.8 % |",
    ]
