"""Programs as a model writes them: a folder with ``manifest.jsonl``, ``programs/`` and ``data/``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

#: The repository's own.
OWN_CORPUS: Final = Path(__file__).parents[1] / "tests" / "corpus"
CHARS_PER_TOKEN: Final = 4


class _Line(msgspec.Struct):
    id: str
    benchmark: str
    kind: str
    task: str
    data: list[str]
    n_chars: int
    stdout: str = ""
    serial_cpu_s: float | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """``kind`` is ``ok``, ``error`` (at run time) or ``syntax_error``; ``stdout`` is what all of it prints, ``cpu_s``
    what a run of it takes, imports included."""

    id: str
    benchmark: str
    kind: str
    task: str
    chars: int
    stdout: str
    data: tuple[Path, ...]
    cpu_s: float = 1.0

    @property
    def tokens(self) -> int:
        """As the replay upstream cuts it."""
        return -(-self.chars // CHARS_PER_TOKEN)


def read_corpus(folder: Path) -> list[Program]:
    """
    Raises:
        OSError: there is no manifest.
        msgspec.ValidationError: it is not in the corpus format.
    """
    lines = (folder / "manifest.jsonl").read_bytes()
    return [
        Program(
            line.id,
            line.benchmark,
            line.kind,
            line.task,
            line.n_chars,
            line.stdout,
            tuple(folder / "data" / name for name in line.data),
            line.serial_cpu_s or 1.0,
        )
        for line in msgspec.json.Decoder(_Line).decode_lines(lines)
    ]


def sample(programs: Sequence[Program], per_benchmark: int) -> list[Program]:
    """So many programs of each benchmark, those of middling length, in the order of the corpus."""
    by_benchmark: dict[str, list[Program]] = defaultdict(list)
    for program in programs:
        by_benchmark[program.benchmark].append(program)
    chosen: set[str] = set()
    for members in by_benchmark.values():
        ordered = sorted(members, key=lambda program: program.chars)
        first = max(0, (len(ordered) - per_benchmark) // 2)
        chosen.update(program.id for program in ordered[first : first + per_benchmark])
    return [program for program in programs if program.id in chosen]
