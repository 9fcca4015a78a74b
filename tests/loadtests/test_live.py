from __future__ import annotations

from loadtests.live import Answer, Hint, live_table

TIMING = {"gen_ms": 1000.0, "e2el_ms": 1010.0, "nel_ms": 10.0, "serial_e2el_ms": 1200.0, "chunks": 5}


def answer(status: str, *, stopped: bool = False, hint: Hint = "on", first_output_ms: float | None = None) -> Answer:
    timing = TIMING | {"first_output_ms": first_output_ms}
    return Answer(
        task="t", benchmark="DABench", backend="docker", status=status, stopped=stopped, hint=hint, timing=timing
    )


def test_answers_that_failed_have_a_row_of_their_own() -> None:
    lines = live_table([answer("ok"), answer("ok"), answer("error", stopped=True)]).splitlines()
    assert lines[2:] == [
        "| docker | DABench | failed | on | 1 | 1 | 5 | - | 95.0 % | 15.8 % |",
        "| docker | DABench | ran | on | 2 | 0 | 5 | - | 95.0 % | 15.8 % |",
    ]


def test_answers_with_the_hint_and_without_it_are_compared() -> None:
    answers = [answer("ok", first_output_ms=250.0), answer("ok", first_output_ms=350.0), answer("ok", hint="off")]
    assert live_table(answers).splitlines()[2:] == [
        "| docker | DABench | ran | off | 1 | 0 | 5 | - | 95.0 % | 15.8 % |",
        "| docker | DABench | ran | on | 2 | 0 | 5 | 30% | 95.0 % | 15.8 % |",
    ]
