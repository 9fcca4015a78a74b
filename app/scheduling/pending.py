"""Chunks detected and not yet executed, and which of them make the next batch.

Theory of operation. A request's code comes in blocks (tool calls, fences); blocks run in the order in which they began,
each to its end before the next. A batch is everything pending of the first block (EAGER, dynamic batching), except:

1. Deferred chunks are not taken alone: they wait for a chunk that is not deferred, or for the end of the block.
2. From the first ``serial`` chunk on nothing is taken while the model is generating.

The end of a block is handed over like a chunk: exactly one batch of each ended block is ``final``, if need be an empty
one. A block that failed is dropped: it is over, whatever the model still writes of it. Adding and taking cost O(1) a
chunk, however many are held back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from app.detection.chunk import Chunk
from app.scheduling.gate import Decision


@dataclass(frozen=True, slots=True)
class Batch:
    """Chunks of one block merged into one execution. ``final``: the block ends with them; it may then have none."""

    block: str
    chunks: tuple[Chunk, ...]
    final: bool


@dataclass(slots=True, eq=False)
class _BlockQueue:
    name: str
    chunks: list[Chunk] = field(default_factory=list)
    #: Some chunk that is free to run is not a deferred one.
    worth_running: bool = False
    #: Position of the first ``serial`` chunk.
    serial_from: int | None = None
    ended: bool = False
    dropped: bool = False


class Pending:
    """The queue between detection and execution. Pure: the caller wakes the executor."""

    def __init__(self) -> None:
        self._blocks: dict[str, _BlockQueue] = {}
        self._order: deque[_BlockQueue] = deque()
        self._generating = True

    def __repr__(self) -> str:
        return f"<Pending {len(self)} chunks of {len(self._order)} blocks>"

    def __len__(self) -> int:
        """Chunks that wait."""
        return sum(len(block.chunks) for block in self._order)

    @property
    def front(self) -> str | None:
        """The block that runs next, whether there is anything to take of it or not."""
        return self._order[0].name if self._order else None

    def begin(self, block: str) -> None:
        """The model has begun ``block``: it runs after those begun before. ``add`` and ``end`` imply it."""
        if block not in self._blocks:
            self._blocks[block] = _BlockQueue(block)
            self._order.append(self._blocks[block])

    def add(self, block: str, chunk: Chunk, decision: Decision) -> None:
        """A chunk of ``block`` was detected."""
        self.begin(block)
        queue = self._blocks[block]
        assert not queue.ended, f"chunk {chunk.index} after the end of {block}"
        if queue.dropped:
            return
        if queue.serial_from is None:
            if decision == "serial":
                queue.serial_from = len(queue.chunks)
            elif decision == "run":
                queue.worth_running = True
        queue.chunks.append(chunk)

    def end(self, block: str) -> None:
        """No chunk of ``block`` follows. Of no effect on a block that was dropped."""
        self.begin(block)
        assert not self._blocks[block].ended, f"{block} ended twice"
        self._blocks[block].ended = True

    def drop(self, block: str) -> None:
        """Nothing of ``block`` is to be taken any more; what is added to it from now on is dropped too."""
        self.begin(block)
        queue = self._blocks[block]
        queue.dropped = True
        if queue in self._order:
            self._order.remove(queue)

    def generation_started(self) -> None:
        """The model generates again (the next turn of an agent loop): serial chunks added from now on wait."""
        self._generating = True

    def generation_over(self) -> None:
        """The model has said its last token: nothing waits for it any longer."""
        self._generating = False

    def take_batch(self) -> Batch | None:
        """What may be executed now, or None. What is taken is no longer pending."""
        if not self._order:
            return None
        block = self._order[0]
        if block.serial_from is None or not self._generating:
            if not (block.ended or block.worth_running or block.serial_from is not None):
                return None
            return self._take(block, len(block.chunks))
        return self._take(block, block.serial_from) if block.worth_running else None

    def dropped(self) -> list[tuple[str, Chunk]]:
        """Chunks never taken, with their blocks, in order; without those of blocks that were dropped."""
        return [(block.name, chunk) for block in self._order for chunk in block.chunks]

    def _take(self, block: _BlockQueue, count: int) -> Batch:
        taken, block.chunks = block.chunks[:count], block.chunks[count:]
        block.worth_running = False
        block.serial_from = 0 if block.chunks else None
        final = block.ended and not block.chunks
        if final:
            self._order.popleft()
        return Batch(block.name, tuple(taken), final)
