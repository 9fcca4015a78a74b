"""What an execution amounts to, where its interpreter lies about it."""

from app.sandbox.worker.execution import RunningExecution
from app.sandbox.worker.messages import Finished


def test_times_of_a_clock_that_runs_backwards_count_as_none() -> None:
    execution = RunningExecution(1, [0, 1], final=True, output_limit=100)
    execution.accept(Finished(id=1, status="ok", ran=2, ns=[-5, 7]))
    assert execution.conclude().durations_ns == [0, 7]
