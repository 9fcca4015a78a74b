from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtests.figures import figures_report

LOAD = {"target": "", "streams": 64, "tps": 50.0, "cpu_us": 100.0, "added_p99_ms": 20.0, "tokens_per_s": 3000.0}
LOAD |= {"slowest_pace": 0.99, "fairness": 0.98, "complete": 64}
TRIP = {"p50": 200.0}
OUTPUT = {"mb_s": 60.0, "gateway_growth_mb": 1.0}
SANDBOX = {"backend": "docker", "round_trip": TRIP, "output": OUTPUT, "import_ms": 0.5, "own_mb": 20.0}
SESSION = {"backend": "docker", "checkout_warm_p50": 2.0}


def put(results: Path, stage: str, data: dict[str, Any]) -> None:
    (results / stage).mkdir(parents=True)
    (results / stage / "report.json").write_bytes(msgspec.json.encode({"provenance": {"commit": "abc"}, **data}))


def rows(results: Path) -> dict[str, tuple[str, bool | None]]:
    figures = figures_report(results).data["figures"]
    return {figure["what"]: (figure["measured"], figure["reached"]) for figure in figures}


def gateway(**changed: Any) -> dict[str, Any]:
    loads = [
        LOAD | {"target": "Eager, searched for code"},
        LOAD | {"target": "Eager, code run"},
        LOAD | {"target": "LiteLLM 1.2.3", "cpu_us": 900.0},
        LOAD | {"target": "Eager, passed on", "streams": 256, "tokens_per_s": 8000.0},
        LOAD | {"target": "aiohttp pass-through", "streams": 256, "tokens_per_s": 10000.0},
        LOAD | {"target": "no proxy", "streams": 256, "tokens_per_s": 12000.0},
        LOAD | {"target": "LiteLLM 1.2.3", "streams": 256, "tokens_per_s": 500.0},
    ]
    lengths = [
        {"shape": "flat", "lines": n, "detection_us": 4.0, "extraction_us": 6.0, "hold_ms": 1.0} for n in (50, 5000)
    ]
    return {"loads": loads, "lengths": lengths, "sandboxes": [SANDBOX], "sessions": [SESSION], **changed}


def test_without_results_every_figure_is_told_as_not_measured(tmp_path: Path) -> None:
    assert set(rows(tmp_path).values()) == {("not measured", None)}
    assert "0 of 16 reached, 16 not measured" in figures_report(tmp_path).body


def test_figures_are_made_of_what_was_measured(tmp_path: Path) -> None:
    put(tmp_path, "gateway", gateway())
    found = rows(tmp_path)
    assert found["Gateway CPU per proxied token, detection on, 64 streams"] == ("100 us, LiteLLM 9.0x", True)
    assert found["64 streams at 50 tokens/s with code running"] == ("slowest 99.0%, p99 20.0 ms", True)
    told = "0.80 of the pass-through, 16.0x LiteLLM (all that is sent is 24.0x), slowest 0.98 of the mean"
    assert found["256 streams at 50 tokens/s, all together"] == (told, True)
    assert found["Warm check-out, p50"] == ("docker 2.00 ms", True)
    assert found["Output, Docker"] == ("60 MB/s, the gateway grew by 1 MB", True)
    assert found["Execution round trip, p50, local"] == ("not measured", None)


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        ("Warm check-out, p50", {"sessions": [SESSION | {"checkout_warm_p50": 5.1}]}),
        (
            "Detection per token at 50 and 5,000 lines, their ratio, longest hold of the loop",
            {"lengths": [{"shape": "a", "lines": n, "detection_us": n / 1000, "hold_ms": 0.1} for n in (50, 5000)]},
        ),
        ("Execution round trip, p50, Docker", {"sandboxes": [SANDBOX | {"round_trip": {"p50": 310.0}}]}),
    ],
)
def test_a_figure_that_falls_short_says_so(what: str, changed: dict[str, Any], tmp_path: Path) -> None:
    put(tmp_path, "gateway", gateway(**changed))
    assert rows(tmp_path)[what][1] is False
    assert "**no**" in figures_report(tmp_path).body


def test_where_all_that_is_sent_is_too_little_a_flood_is_told_and_decides_nothing(tmp_path: Path) -> None:
    found = gateway()
    found["loads"][-1]["tokens_per_s"] = 2000.0
    flood = {"streams": 256, "tps": 200.0}
    found["loads"] += [
        LOAD | flood | {"target": "Eager, passed on", "tokens_per_s": 9000.0},
        LOAD | flood | {"target": "LiteLLM 1.2.3", "tokens_per_s": 500.0},
    ]
    put(tmp_path, "gateway", found)
    told = "0.80 of the pass-through, 4.0x LiteLLM (all that is sent is 6.0x; at 200 tokens/s 18.0x), "
    told += "slowest 0.98 of the mean"
    assert rows(tmp_path)["256 streams at 50 tokens/s, all together"] == (told, False)


def test_the_table_of_the_paper_counts_only_when_it_is_whole(tmp_path: Path) -> None:
    saving = {"backend": "docker", "tps": 100.0, "benchmark": "DABench", "baseline": "cold", "programs": 1}
    saving |= {"nel_saved": 99.0, "e2el_saved": 1.0, "limit_nel_saved": 99.0, "tokens_saved": 0.0}
    saving |= {"nel_ms": [1.0, 1.0], "e2el_ms": [1.0, 1.0]}
    close = {"backend": "docker", "tps": 100.0, "client_median": 1.01, "client_p95": 1.06}
    put(tmp_path, "replay", {"savings": {"cold": [saving]}, "closeness": [close], "remainders": []})
    found = rows(tmp_path)
    assert found["NEL saved, every one of the paper's 48 cells"] == ("1 of 1 cells", False)
    assert found["E2EL over the bound of Eq. 12, error-free, Docker, 100 TPS"] == ("1.010, p95 1.060", False)
    short = saving | {"nel_saved": 93.0, "limit_nel_saved": 94.0}
    put(tmp_path / "short", "replay", {"savings": {"cold": [saving, short]}, "closeness": [], "remainders": []})
    told = "1 of 2 cells; 1 ask for more than an executor without any cost would save here"
    assert rows(tmp_path / "short")["NEL saved, every one of the paper's 48 cells"] == (told, False)
    fewer = saving | {"tps": 50.0, "programs": 0}
    put(tmp_path / "fewer", "replay", {"savings": {"cold": [saving, fewer]}, "closeness": [], "remainders": []})
    told = "2 of 2 cells; 1 rest on a part of their programs"
    assert rows(tmp_path / "fewer")["NEL saved, every one of the paper's 48 cells"] == (told, False)
    assert found["the same, Docker"] == ("not measured", None)
