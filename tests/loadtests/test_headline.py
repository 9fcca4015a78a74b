from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from app.cli import cli
from loadtests.headline import headline_report

SAVING = {"backend": "docker", "tps": 100.0, "benchmark": "DABench", "nel_saved": 90.0, "e2el_saved": 9.0}
SAVING |= {"limit_nel_saved": 99.0, "tokens_saved": 0.0}


def saving(baseline: str, programs: int, nel_ms: list[float], e2el_ms: list[float]) -> dict[str, Any]:
    return SAVING | {"baseline": baseline, "programs": programs, "nel_ms": nel_ms, "e2el_ms": e2el_ms}


REPLAY = {
    "savings": {
        "cold": [
            saving("cold", 3, [400.0, 10.0], [1, 1]),
            saving("cold", 1, [800.0, 30.0], [1, 1]) | {"benchmark": "DSBench"},
            saving("cold", 9, [1.0, 1.0], [1, 1]) | {"tps": 50.0},
        ],
        "warm": [
            saving("warm", 3, [40.0, 10.0], [1, 1]),
            saving("warm", 1, [80.0, 30.0], [1, 1]) | {"benchmark": "DSBench"},
        ],
    },
    "closeness": [{"backend": "docker", "tps": 100.0, "client_median": 1.0012, "client_p95": 1.006}],
    "first_output": [
        {"backend": "docker", "tps": 100.0, "eager_ms": 1410.0, "share": 44.4, "warm_ms": 3120.0, "cold_ms": 3900.0}
    ],
    "remainders": [{"backend": "docker", "tps": 100.0, "dispatch_p50": 0.11, "dispatch_p99": 0.53}],
}
ERRORS = {"overall": {"warm": [saving("warm", 12, [1, 1], [2566.0, 985.0])]}}
LOAD = {"streams": 64, "tps": 50.0, "cpu_us": 20.0, "added_p99_ms": 0.4}
GATEWAY = {
    "loads": [
        LOAD | {"target": "Eager, passed on"},
        LOAD | {"target": "Eager, searched for code", "cpu_us": 47.0},
        LOAD | {"target": "Eager, code run", "added_p99_ms": 2.02},
        LOAD | {"target": "aiohttp pass-through"},
        LOAD | {"target": "LiteLLM 1.2.3", "cpu_us": 400.0, "added_p99_ms": 1338.9},
    ]
}
COST = {"shape": "flat", "lines": 2000, "cpu_us": 3.06, "reached": 1.0, "stopped": False}
PEERS = {
    "detection": [
        COST | {"system": "Eager"},
        COST | {"system": "A", "cpu_us": 35.0},
        COST | {"system": "A", "shape": "string", "reached": 0.3},
        COST | {"system": "B", "stopped": True},
    ]
}


def put(results: Path, **stages: dict[str, Any]) -> None:
    for stage, data in stages.items():
        (results / stage).mkdir(parents=True)
        (results / stage / "report.json").write_bytes(msgspec.json.encode(data))


def rows(results: Path) -> list[tuple[str, str]]:
    return [(ours, beside) for _, ours, beside in headline_report(results).data["rows"]]


def test_every_row_tells_ours_and_what_it_is_beside(tmp_path: Path) -> None:
    put(tmp_path, replay=REPLAY, errors=ERRORS, gateway=GATEWAY, peers=PEERS)
    assert rows(tmp_path) == [
        ("15 ms", "serial: 50 ms warm, 500 ms cold"),
        ("1.001, p95 1.006", "1, which no executor goes below (Eq. 12)"),
        ("1.4 s, at 44 % of generation", "serial: 3.1 s warm, 3.9 s cold"),
        ("1.0 s", "serial: 2.6 s"),
        ("0.11 ms, p99 0.53 ms", ""),
        ("47 us", "LiteLLM 1.2.3: 400 us; an aiohttp pass-through: 20 us"),
        ("0.4 ms, with code running 2.0 ms", "LiteLLM 1.2.3: 1339 ms"),
        ("3.1 us", "A: 35.0 us, 3.1 us (did not end); B: 3.1 us (did not end)"),
    ]


@pytest.mark.parametrize(
    "replay", [{}, REPLAY | {"closeness": [], "first_output": [], "savings": {"cold": [], "warm": []}}]
)
def test_what_was_not_measured_is_left_out(replay: dict[str, Any], tmp_path: Path) -> None:
    put(tmp_path, replay=replay, errors=ERRORS)
    dispatch = [("0.11 ms, p99 0.53 ms", "")] if replay else []
    assert rows(tmp_path) == [("1.0 s", "serial: 2.6 s"), *dispatch]


def test_a_readme_quotes_them_in_a_section_of_its_own(tmp_path: Path) -> None:
    put(tmp_path / "all", errors=ERRORS)
    readme = tmp_path / "README.md"
    readme.write_text("Before.\n<!-- bench headline -->\nold\n<!-- end headline -->\nAfter.\n")
    told = CliRunner().invoke(cli, ["bench", "figures", str(tmp_path / "all"), "--quote", str(readme)])
    assert told.exit_code == 0, told.output
    text = readme.read_text()
    assert text.startswith("Before.\n<!-- bench headline -->\n## Measured\n")
    assert "| 1.0 s | serial: 2.6 s |" in text
    assert text.endswith("<!-- end headline -->\nAfter.\n")
    assert "old" not in text
