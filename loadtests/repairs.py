"""Corrections of the programs of the corpus that fail (``repairs.jsonl``): what a model would go on with once it is
told of the error, everything before the failing statement having run.

``line`` is that of the failing top-level statement, ``repair`` takes its place, ``then`` are replacements in the rest.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import msgspec

_FILE: Final = Path(__file__).with_name("repairs.jsonl")


class Repair(msgspec.Struct, frozen=True):
    id: str
    line: int
    repair: str
    then: list[tuple[str, str]]

    def continuation(self, code: str) -> str:
        """The rest of the program, corrected.

        Raises:
            ValueError: no statement of this program begins on that line.
        """
        failing = next((statement for statement in ast.parse(code).body if statement.lineno == self.line), None)
        if failing is None:
            raise ValueError(f"{self.id}: no statement begins on line {self.line}")
        rest = "".join(code.splitlines(keepends=True)[failing.end_lineno :])
        for wrong, right in self.then:
            rest = rest.replace(wrong, right)
        return self.repair + rest


def read_repairs() -> dict[str, Repair]:
    """By the program's id."""
    repairs = msgspec.json.Decoder(Repair).decode_lines(_FILE.read_bytes())
    return {repair.id: repair for repair in repairs}
