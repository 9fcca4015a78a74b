"""What an execution amounts to, where its interpreter lies about it."""

from app.sandbox.worker.messages import Finished
from app.sandbox.worker.turn import Turn


def test_times_of_a_clock_that_runs_backwards_count_as_none() -> None:
    turn = Turn(1, [0, 1], final=True, output_limit=100)
    turn.accept(Finished(id=1, status="ok", ran=2, ns=[-5, 7]))
    assert turn.conclude().durations_ns == [0, 7]
