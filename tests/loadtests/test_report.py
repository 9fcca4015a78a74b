from __future__ import annotations

import json
from pathlib import Path

from loadtests import plots
from loadtests.measurement import MODES
from loadtests.report import Report, commit_of, publish, read, with_section, write
from loadtests.reports import errors_report, replay_report
from loadtests.summaries import savings
from loadtests.tables import savings_table, table
from tests.loadtests.runs import measurement, run


def test_a_table_is_markdown() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_the_first_table_of_the_paper() -> None:
    found = [
        measurement(run("cold"), nel_ms=200, e2el_ms=1200),
        measurement(run("eager"), nel_ms=10, e2el_ms=1020, bound_ms=1004),
        measurement(run("cold", benchmark="DSBench", tps=50), nel_ms=0),
        measurement(run("eager", benchmark="DSBench", tps=50), nel_ms=0),
    ]
    assert savings_table(savings(found, "cold")) == (
        "| env | TPS | DABench | DSBench |\n"
        "| --- | --- | --- | --- |\n"
        "| docker | 50 | - | - / 0.0 (-) |\n"
        "| docker | 100 | 95.0 / 15.0 (99.0) | - |\n"
    )


def test_a_report_of_every_mode(tmp_path: Path) -> None:
    found = [measurement(run(mode), nel_ms=200 if mode != "eager" else 1) for mode in MODES]
    report = replay_report(found, tmp_path, ["docker: no engine"])
    assert len(report.plots) == (3 if plots.available() else 0)
    for plot in report.plots:
        assert plot.read_bytes().startswith(b"\x89PNG")
    markdown = write(report, tmp_path).read_text()
    assert "1 of 1 cells reach" in markdown
    assert "| docker | 100 | DABench | 99.5 / 0.0 | 94.4 / 9.6 | 99.8 | 94.4 | yes |" in markdown
    assert "- docker: no engine" in markdown
    assert "3 runs; in 3 the output" in markdown
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["provenance"]["commit"]
    assert data["savings"]["cold"][0]["programs"] == 1


def test_a_report_of_nothing_says_why(tmp_path: Path) -> None:
    assert "no gateway" in write(replay_report([], tmp_path, ["no gateway"]), tmp_path).read_text()


def test_runs_that_printed_something_else_are_named(tmp_path: Path) -> None:
    found = [measurement(run(mode), stdout_equal=mode == "warm", tokens_sent=50) for mode in ("warm", "eager")]
    assert "not in p (eager, docker)" in errors_report(found, []).body


def test_a_published_report_replaces_its_own_section_only(tmp_path: Path) -> None:
    document = tmp_path / "docs" / "evaluation.md"
    for name, body in (("replay", "old\n"), ("errors", "kept\n"), ("replay", r"new \1" + "\n")):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        plot = folder / "bars.png"
        plot.write_bytes(b"png")
        (folder / "of-another-run.png").write_bytes(b"png")
        write(Report(name=name, title=name, body=body, data={}, plots=[plot]), folder)
        publish(name, folder, document)
    text = document.read_text()
    assert "old" not in text
    assert text.index(r"new \1") < text.index("kept")
    assert "![bars](evaluation/replay-bars.png)" in text
    pictures = tmp_path / "docs" / "evaluation"
    assert {path.name for path in pictures.iterdir()} == {"replay-bars.png", "errors-bars.png"}


def test_a_report_tells_its_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None
    write(Report(name="x", title="x", body="", data={"of": 1}), tmp_path)
    data = read(tmp_path)
    assert data is not None
    assert data["of"] == 1
    assert commit_of(tmp_path) == data["provenance"]["commit"]


def test_serial_runs_at_one_rate_stand_for_all(tmp_path: Path) -> None:
    found = [measurement(run("cold", tps=200.0), nel_ms=200), measurement(run("eager", tps=200.0), nel_ms=1)]
    found.append(measurement(run("eager", tps=50.0), nel_ms=1))
    assert "| docker | 50 | DABench |" not in replay_report(found, tmp_path, []).body
    told = replay_report(found, tmp_path, [], serial_once=True).body
    assert "| docker | 50 | DABench |" in told
    assert "highest rate only" in told


def test_a_section_is_added_to_an_empty_document() -> None:
    assert with_section("", "x", "text\n") == "<!-- bench x -->\ntext\n<!-- end x -->\n"
