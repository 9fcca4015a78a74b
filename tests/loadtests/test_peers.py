from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests import peers
from loadtests.peers import PROGRAMS, PeerDetection, PeerRun, PeersFound, late_ms
from loadtests.peers_report import peers_report

CODE = "a = 1\nfor x in y:\n    z\nb = 2\n"
DRIVERS = Path(peers.__file__).with_name("peer_drivers")


def test_a_statement_is_late_from_the_token_with_its_last_newline() -> None:
    sent = [float(10 * n) for n in range(1, 20)]
    assert late_ms(CODE, [25.0, 80.0, 90.0], sent) == [25 - 20, 80 - 60, 90 - 80]


def test_statements_that_never_started_do_not_count() -> None:
    assert late_ms(CODE, [25.0], [10.0, 20.0]) == [5.0]


def test_the_programs_import_nothing() -> None:
    programs = {path.stem: path.read_text() for path in PROGRAMS.glob("*.py")}
    assert len(programs) == 4
    assert not any("import" in code for code in programs.values())


def test_a_driver_answers_line_by_line_and_keeps_what_a_library_prints_apart() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(DRIVERS)!r})\n"
        "from pace import serve, tokens_of\n"
        "async def run(job):\n"
        "    print('noise')\n"
        "    return {'tokens': tokens_of(job['code'], job['chars'])}\n"
        "serve(run)\n"
    )
    jobs = "".join(json.dumps({"code": text, "chars": 2}) + "\n" for text in ("abc", ""))
    told = subprocess.run([sys.executable, "-c", code], input=jobs, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in io.StringIO(told.stdout)]
    assert answers == [{"ready": True}, {"tokens": ["ab", "c"]}, {"tokens": []}]
    assert told.stderr.split() == ["noise", "noise"]


def test_the_pace_of_a_driver_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DRIVERS)
    import pace  # type: ignore[import-not-found]

    async def play() -> tuple[list[str], list[float]]:
        sent: list[float] = []
        return [token async for token in pace.paced(["a", "b"], 1000.0, sent)], sent

    tokens, sent = asyncio.run(play())
    assert tokens == ["a", "b"]
    assert sent[1] >= sent[0]


def test_the_report_has_systems_side_by_side() -> None:
    common = {"program": "p", "tps": 100.0, "generation_ms": 1000.0, "tokens_total": 100}
    found = PeersFound(
        runs=[
            PeerRun(system="Eager", late_ms=[1.0, 3.0, 2.0], e2el_ms=1010, tokens=100, equal=True, **common),  # type: ignore[arg-type]
            PeerRun(system="other", late_ms=[], e2el_ms=500, tokens=40, equal=False, **common),  # type: ignore[arg-type]
        ],
        detection=[
            PeerDetection(system="Eager", shape="one string", lines=2000, cpu_us=1.25, reached=1, stopped=False),
            PeerDetection(system="other", shape="one string", lines=2000, cpu_us=900, reached=0.25, stopped=False),
        ],
    )
    body = peers_report(found).body
    assert "| p | 100 | Eager | 2.0 | 3.0 | 1010 | 10 | 100 of 100 | yes |" in body
    assert "| p | 100 | other | - | - | 500 | -500 | 40 of 100 | **no** |" in body
    assert "| other | 900.0 (ended after 25% of the code) |" in body
