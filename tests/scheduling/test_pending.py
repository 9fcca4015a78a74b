from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.detection.chunk import Chunk
from app.scheduling.gate import Decision
from app.scheduling.pending import Batch, Pending


def chunk(index: int) -> Chunk:
    return Chunk(index=index, source=f"s{index}\n", start=index, end=index + 1, line=index + 1, column=0, kind="simple")


def pending_of(*decisions: Decision, block: str = "a") -> Pending:
    pending = Pending()
    for index, decision in enumerate(decisions):
        pending.add(block, chunk(index), decision)
    return pending


def taken(batch: Batch | None) -> tuple[str, list[int], bool] | None:
    return batch and (batch.block, [c.index for c in batch.chunks], batch.final)


def test_all_pending_chunks_are_merged() -> None:
    pending = pending_of("run", "run", "run")
    assert taken(pending.take_batch()) == ("a", [0, 1, 2], False)
    assert pending.take_batch() is None
    pending.add("a", chunk(3), "run")
    pending.end("a")
    assert taken(pending.take_batch()) == ("a", [3], True)
    assert pending.take_batch() is None


def test_deferred_chunks_wait_for_one_that_is_not() -> None:
    pending = pending_of("defer", "defer")
    assert pending.take_batch() is None
    pending.add("a", chunk(2), "run")
    pending.add("a", chunk(3), "defer")
    assert taken(pending.take_batch()) == ("a", [0, 1, 2, 3], False)


def test_deferred_chunks_run_at_the_end_of_the_block() -> None:
    pending = pending_of("defer")
    pending.end("a")
    assert taken(pending.take_batch()) == ("a", [0], True)


def test_a_block_that_ends_late_gives_an_empty_final_batch() -> None:
    pending = pending_of("run")
    assert taken(pending.take_batch()) == ("a", [0], False)
    pending.end("a")
    assert taken(pending.take_batch()) == ("a", [], True)
    assert pending.take_batch() is None


def test_a_batch_never_spans_two_blocks() -> None:
    pending = pending_of("run")
    pending.add("b", chunk(0), "run")
    assert taken(pending.take_batch()) == ("a", [0], False)
    assert pending.take_batch() is None, "b waits for the end of a"
    pending.end("a")
    assert taken(pending.take_batch()) == ("a", [], True)
    assert taken(pending.take_batch()) == ("b", [0], False)


def test_blocks_run_in_the_order_in_which_they_began() -> None:
    pending = Pending()
    pending.begin("a")
    pending.add("b", chunk(0), "run")
    pending.end("b")
    assert pending.take_batch() is None
    pending.end("a")
    assert taken(pending.take_batch()) == ("a", [], True)
    assert taken(pending.take_batch()) == ("b", [0], True)


def test_a_serial_chunk_holds_back_all_that_follows_until_generation_is_over() -> None:
    pending = pending_of("run", "serial", "run")
    assert taken(pending.take_batch()) == ("a", [0], False)
    assert pending.take_batch() is None
    pending.add("a", chunk(3), "run")
    pending.end("a")
    pending.add("b", chunk(0), "run")
    assert pending.take_batch() is None
    pending.generation_over()
    assert taken(pending.take_batch()) == ("a", [1, 2, 3], True)
    assert taken(pending.take_batch()) == ("b", [0], False)


def test_deferred_chunks_before_a_serial_one_wait_with_it() -> None:
    pending = pending_of("defer", "serial")
    assert pending.take_batch() is None
    pending.generation_over()
    assert taken(pending.take_batch()) == ("a", [0, 1], False)


def test_a_serial_chunk_waits_anew_in_the_next_turn() -> None:
    pending = Pending()
    pending.generation_over()
    pending.generation_started()
    pending.add("a", chunk(0), "serial")
    assert pending.take_batch() is None


def test_what_was_never_taken_is_reported() -> None:
    pending = pending_of("run", "serial")
    pending.add("b", chunk(0), "run")
    pending.take_batch()
    assert [(block, c.index) for block, c in pending.dropped()] == [("a", 1), ("b", 0)]
    assert len(pending) == 2
    assert repr(pending) == "<Pending 2 chunks of 2 blocks>"


def test_a_dropped_block_is_over_and_the_next_takes_its_place() -> None:
    pending = pending_of("run")
    pending.take_batch()
    pending.add("a", chunk(1), "run")
    pending.add("b", chunk(0), "run")
    pending.drop("a")
    pending.drop("a")
    pending.add("a", chunk(2), "serial")
    pending.end("a")
    assert [(block, c.index) for block, c in pending.dropped()] == [("b", 0)]
    assert taken(pending.take_batch()) == ("b", [0], False)


def test_a_block_that_is_through_or_has_not_begun_can_be_dropped() -> None:
    pending = pending_of("run")
    pending.end("a")
    assert taken(pending.take_batch()) == ("a", [0], True)
    pending.drop("a")
    pending.drop("b")
    pending.end("b")
    assert pending.take_batch() is None


@pytest.mark.parametrize("again", ["add", "end"])
def test_an_ended_block_takes_nothing_more(again: str) -> None:
    pending = Pending()
    pending.end("a")
    with pytest.raises(AssertionError):
        pending.end("a") if again == "end" else pending.add("a", chunk(0), "run")


class PendingMachine(RuleBasedStateMachine):
    """Any order of calls: nothing is lost, duplicated or reordered, and every rule of the queue holds."""

    blocks = ("a", "b", "c")

    @initialize()
    def start(self) -> None:
        self.pending = Pending()
        self.generating = True
        self.begun: list[str] = []
        self.added: dict[str, list[Decision]] = {}
        self.taken: dict[str, int] = {}
        self.ended: set[str] = set()
        self.final: list[str] = []
        self.gone: set[str] = set()

    def _begin(self, block: str) -> None:
        if block not in self.begun:
            self.begun.append(block)
            self.added[block], self.taken[block] = [], 0

    @rule(block=st.sampled_from(blocks))
    def begin(self, block: str) -> None:
        self._begin(block)
        self.pending.begin(block)

    @rule(block=st.sampled_from(blocks), decision=st.sampled_from(["run", "defer", "serial"]))
    def add(self, block: str, decision: Decision) -> None:
        if block in self.ended:
            return
        self._begin(block)
        self.pending.add(block, chunk(len(self.added[block])), decision)
        self.added[block].append(decision)

    @rule(block=st.sampled_from(blocks))
    def end(self, block: str) -> None:
        if block in self.ended:
            return
        self._begin(block)
        self.pending.end(block)
        self.ended.add(block)

    @rule(block=st.sampled_from(blocks))
    def drop(self, block: str) -> None:
        self._begin(block)
        self.pending.drop(block)
        self.gone.add(block)

    @rule()
    def take(self) -> None:
        batch = self.pending.take_batch()
        open_blocks = [block for block in self.begun if block not in self.gone.union(self.final)]
        if batch is None:
            if open_blocks:
                self._was_right_to_wait(open_blocks[0])
            return
        block, first = open_blocks[0], self.taken[open_blocks[0]]
        assert batch.block == block, "blocks run one after the other"
        count = len(batch.chunks)
        assert [c.index for c in batch.chunks] == list(range(first, first + count)), "in order, each once"
        decisions = self.added[block][first : first + count]
        self.taken[block] += count
        complete = self.taken[block] == len(self.added[block])
        assert batch.final == (block in self.ended and complete)
        assert batch.chunks or batch.final, "an empty batch only tells the end"
        if self.generating:
            assert "serial" not in decisions
        assert batch.final or set(decisions) != {"defer"}, "deferred chunks never run alone"
        if batch.final:
            self.final.append(block)

    def _was_right_to_wait(self, block: str) -> None:
        waiting = self.added[block][self.taken[block] :]
        if self.generating and "serial" in waiting:
            waiting = waiting[: waiting.index("serial")]
        else:
            assert block not in self.ended
        assert set(waiting) <= {"defer"}

    @precondition(lambda self: self.generating)
    @rule()
    def generation_over(self) -> None:
        self.pending.generation_over()
        self.generating = False

    @invariant()
    def nothing_is_lost(self) -> None:
        there = [block for block in self.begun if block not in self.gone]
        waiting = [block for block in there if block not in self.final]
        assert self.pending.front == (waiting[0] if waiting else None)
        left = [(b, i) for b in there for i in range(self.taken[b], len(self.added[b]))]
        assert [(b, c.index) for b, c in self.pending.dropped()] == left
        assert len(self.pending) == len(left)

    def teardown(self) -> None:
        """Once the model is done everything comes out."""
        self.generation_over()
        for block in self.begun:
            self.end(block)
        for _ in range(2 * len(self.begun)):
            self.take()
        assert [b for b in self.begun if b not in self.gone] == [b for b in self.final if b not in self.gone]
        assert not self.pending.dropped()


PendingMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestPending = PendingMachine.TestCase
