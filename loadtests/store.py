"""Raw results, a line of JSON per run, so that an evaluation that was cut short goes on where it stopped."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from loadtests.measurement import Measurement, Run


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """First line of the file: results belong together only if these are equal."""

    commit: str
    corpus: str
    ttft_ms: float
    lanes: int = 1


class ResultStore:
    """Results of earlier runs under the same conditions are kept; others are put aside, under the time they end at."""

    def __init__(self, path: Path, conditions: Conditions) -> None:
        self.measurements: list[Measurement] = []
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._read(conditions)
        if not path.exists():
            path.write_bytes(msgspec.json.encode(conditions) + b"\n")
        self._done = {measurement.run for measurement in self.measurements}

    def __contains__(self, run: Run) -> bool:
        return run in self._done

    def add(self, measurement: Measurement) -> None:
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(measurement) + b"\n")
        self.measurements.append(measurement)
        self._done.add(measurement.run)

    def _read(self, conditions: Conditions) -> None:
        head, *lines = self._path.read_bytes().split(b"\n")
        if _decode(head) != conditions:
            ended = datetime.fromtimestamp(self._path.stat().st_mtime)
            self._path.rename(self._path.with_name(f"{self._path.stem}-{ended:%Y%m%d-%H%M%S}{self._path.suffix}"))
            return
        # The last line has no end if the process was killed while it wrote: it is written over.
        if lines and lines[-1]:
            unfinished = lines.pop()
            with self._path.open("r+b") as file:
                file.truncate(self._path.stat().st_size - len(unfinished))
        self.measurements = [msgspec.json.decode(line, type=Measurement) for line in lines if line]


def _decode(head: bytes) -> Conditions | None:
    try:
        return msgspec.json.decode(head, type=Conditions)
    except msgspec.DecodeError:
        return None
