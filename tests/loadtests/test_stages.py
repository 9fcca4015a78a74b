from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtests import stages
from loadtests.corpus import OWN_CORPUS, read_corpus
from loadtests.report import Report, write
from loadtests.stages import ALL, Choice, measure_all

PROGRAMS = {kind: [p for p in read_corpus(OWN_CORPUS) if p.kind == kind] for kind in ("ok", "error")}


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> list[Choice]:
    """Of the evaluations that were to run; none runs."""
    chosen: list[Choice] = []

    def evaluate(name: str, choice: Choice, folder: Path) -> Report:
        chosen.append(choice)
        return Report(name=name, title=name, body="", data={})

    def stage(name: str) -> Any:
        return lambda *_, **__: Report(name=name, title=name, body="", data={})

    monkeypatch.setattr(stages, "evaluate_stage", evaluate)
    for name in ("gateway", "peers", "repair"):
        monkeypatch.setattr(stages, f"{name}_stage", stage(name))
    return chosen


def run_all(folder: Path, *, anew: bool = False) -> list[str]:
    found = []
    for report, place in measure_all(OWN_CORPUS, PROGRAMS, ["docker", "jupyter"], 12, 10, folder, anew=anew):
        write(report, place)
        found.append(report.name)
    return found


def test_all_has_every_section_of_the_document(choices: list[Choice], tmp_path: Path) -> None:
    assert sorted(run_all(tmp_path)) == sorted(ALL)
    errors, replay = choices
    assert {program.kind for program in errors.programs} == {"error"}
    assert errors.backends == ["docker"]
    assert replay.backends == ["docker", "jupyter"]
    assert replay.serial_once
    assert replay.minutes is not None
    assert 9 < replay.minutes < 10


def test_all_goes_on_where_it_stopped_unless_wanted_anew(choices: list[Choice], tmp_path: Path) -> None:
    run_all(tmp_path)
    assert run_all(tmp_path) == ["errors", "replay", "figures"]
    assert len(run_all(tmp_path, anew=True)) == len(ALL)
