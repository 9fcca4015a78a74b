from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from loadtests.corpus import OWN_CORPUS, read_corpus
from loadtests.measurement import RunFailed
from loadtests.repair import Repaired, repair_table, repaired_of
from loadtests.repair_upstream import create_repair_app, repaired
from loadtests.repairs import Repair, read_repairs

ERROR = next(program for program in read_corpus(OWN_CORPUS) if program.id == "dev-err-03")
USER = {"role": "user", "content": "Go."}
REPORT = {"role": "tool", "tool_call_id": "call_replay", "content": "TypeError"}


def events(*statuses: str, kind: str = "done") -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = [
        {"type": "token", "text": "abcd", "t_ms": 1},
        {"type": "token", "text": "", "t_ms": 1},
    ]
    told += [{"type": "code.end", "status": status, "t_ms": 1000.0 * n} for n, status in enumerate(statuses, 1)]
    return [*told, {"type": kind, "t_ms": 9000.0}]


def test_every_failing_program_of_the_corpus_has_a_correction_that_compiles() -> None:
    repairs = read_repairs()
    failing = [program.id for program in read_corpus(OWN_CORPUS) if program.kind == "error"]
    assert sorted(repairs) == sorted(failing)
    for id, repair in repairs.items():
        code = (OWN_CORPUS / "programs" / f"{id}.py").read_text()
        continuation = repair.continuation(code)
        compile(continuation, id, "exec")
        assert continuation not in code
        assert all(wrong in code for wrong, _ in repair.then)


def test_a_continuation_takes_the_place_of_the_failing_statement() -> None:
    repair = Repair("x", 2, "good()\n", [("old", "new")])
    assert repair.continuation("first()\nbad(\n)\nold()\n") == "good()\nnew()\n"


def test_a_correction_of_another_program_is_refused() -> None:
    with pytest.raises(ValueError, match="line 3"):
        Repair("x", 3, "", []).continuation("a = (\n1,\n2)\n")


def test_only_the_first_report_is_answered_with_the_continuation() -> None:
    body = {"model": "dev-err-03@100", "messages": [USER]}
    assert repaired(body) == body
    asked = repaired({**body, "messages": [USER, {"role": "assistant"}, REPORT]})
    assert asked == {"model": "dev-err-03-repaired@100", "messages": [USER]}
    twice = {**body, "messages": [USER, REPORT, REPORT]}
    assert repaired(twice) == twice


async def test_the_scripted_model_repairs() -> None:
    tool = {"type": "function", "function": {"name": "python", "parameters": {"properties": {"code": {}}}}}
    transport = httpx.ASGITransport(app=create_repair_app(OWN_CORPUS))
    answers = []
    async with httpx.AsyncClient(transport=transport, base_url="http://upstream") as client:
        assert (await client.get("/v1/models")).status_code == 200
        for messages in ([USER], [USER, REPORT], [USER, REPORT, REPORT]):
            body = {"model": "dev-err-03@0", "messages": messages, "tools": [tool]}
            answer = await client.post("/v1/chat/completions", json=body)
            answers.append(answer.json()["choices"][0]["message"])
    first, second = (json.loads(answer["tool_calls"][0]["function"]["arguments"])["code"] for answer in answers[:2])
    assert "normalize=True" in first
    assert second.startswith("model = LinearRegression()\n")
    assert "tool_calls" not in answers[2]


def test_a_repair_is_measured_to_the_end_of_the_code_that_ran() -> None:
    found = repaired_of(ERROR, "local", "partial", events("error", "ok"), 9100)
    assert found is not None
    assert (found.resolved, found.failures, found.tokens) == (True, 1, 1)
    assert (found.to_repair_s, found.e2el_s) == (2.0, 9.1)


def test_what_was_not_repaired_took_all_of_the_request() -> None:
    found = repaired_of(ERROR, "local", "full", events("error", "error"), 9100)
    assert found is not None
    assert (found.resolved, found.failures, found.to_repair_s) == (False, 2, 9.0)


def test_code_that_ran_at_once_needed_no_repair() -> None:
    assert repaired_of(ERROR, "local", "full", events("ok"), 9100) is None


@pytest.mark.parametrize("told", [[], events("error", kind="token"), events()])
def test_a_request_without_an_end_or_code_is_no_measurement(told: list[dict[str, Any]]) -> None:
    with pytest.raises(RunFailed):
        repaired_of(ERROR, "local", "full", told, 1)


def test_partial_stands_above_full_and_all_below_the_benchmarks() -> None:
    common = {"program": "p", "backend": "local", "failures": 1, "to_repair_s": 1.5, "e2el_s": 2.0}
    found = [
        Repaired(benchmark=name, form=form, resolved=form == "full", tokens=tokens, **common)  # type: ignore[arg-type]
        for name, form, tokens in (("Zeta", "full", 20), ("Zeta", "partial", 10), ("Alpha", "partial", 30))
    ]
    assert repair_table(found).splitlines()[2:] == [
        "| local | Alpha | partial | 1 | 0% | 30 | 1.50 | 2.00 |",
        "| local | Zeta | partial | 1 | 0% | 10 | 1.50 | 2.00 |",
        "| local | Zeta | full | 1 | 100% | 20 | 1.50 | 2.00 |",
        "| local | all | partial | 2 | 0% | 20 | 1.50 | 2.00 |",
        "| local | all | full | 1 | 100% | 20 | 1.50 | 2.00 |",
    ]
