import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UpstreamBroken
from app.extraction.deltas import CallDelta, FunctionDelta
from app.extraction.repetition import MAX_REPETITIONS
from app.extraction.tool_calls import MAX_CALLS, ArgumentsFragment, CallEnded, CallStarted, ToolCallAssembler
from tests.extraction.splits import cut_lists, pieces

A, B = json.dumps({"code": "print('}{')"}), json.dumps({"city": "Paris"})


def fragment(index: Any = None, id: Any = None, name: Any = None, arguments: Any = None, **extras: Any) -> CallDelta:
    return CallDelta(index=index, id=id, function=FunctionDelta(name=name, arguments=arguments), **extras)


def assembler() -> ToolCallAssembler:
    numbers = itertools.count()
    return ToolCallAssembler(lambda: f"new_{next(numbers)}")


def assemble(*deltas: list[CallDelta]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of each call, from its events; checks them against ``calls``."""
    reader = assembler()
    events = [event for delta in deltas for event in reader.feed(delta)] + reader.flush()
    calls: list[list[str]] = []
    ended = set()
    for event in events:
        match event:
            case CallStarted(ordinal, id, name):
                assert ordinal == len(calls)
                calls.append([id, name, ""])
            case ArgumentsFragment(ordinal, text):
                assert ordinal not in ended
                assert text
                calls[ordinal][2] += text
            case CallEnded(ordinal):
                assert ordinal not in ended
                ended.add(ordinal)
    assert len(ended) == len(calls)
    assert [[call.id, call.name, call.arguments] for call in reader.calls if call.started] == calls
    return [(id, name, arguments) for id, name, arguments in calls]


CASES: dict[str, tuple[list[list[CallDelta]], list[tuple[str, str, str]]]] = {
    "openai": (
        [[fragment(0, "c1", "python", "")], [fragment(0, arguments=A[:5])], [fragment(0, arguments=A[5:])]],
        [("c1", "python", A)],
    ),
    "whole calls at one index": (
        [[fragment(0, "c1", "python", A)], [fragment(0, "c2", "python", A)]],
        [("c1", "python", A), ("c2", "python", A)],
    ),
    "no index, no id": (
        [[fragment(None, "", "python", A)], [fragment(None, "", "python", A), fragment(None, None, "get", B)]],
        [("new_0", "python", A), ("new_1", "python", A), ("new_2", "get", B)],
    ),
    "no index, in fragments": (
        [
            [fragment(None, "c1", "python")],
            [fragment(arguments=A[:5])],
            [fragment(arguments=A[5:])],
            [fragment(id="c2", name="x")],
        ],
        [("c1", "python", A), ("c2", "x", "")],
    ),
    "no index, name repeated": (
        [[fragment(None, None, "python", A[:5])], [fragment(None, None, "python", A[5:])]],
        [("new_0", "python", A)],
    ),
    "index from 1": (
        [[fragment(1, "t1", "python", "")], [fragment(1, arguments="")], [fragment(1, arguments=A)]],
        [("t1", "python", A)],
    ),
    "id and name repeated": (
        [[fragment(0, "c1", "python", A[:5])], [fragment(0, "c1", "python", A[5:])]],
        [("c1", "python", A)],
    ),
    "id and name null": (
        [[fragment(0, "c1", "python")], [fragment(0, None, None, A[:5])], [fragment(0, "", "", A[5:])]],
        [("c1", "python", A)],
    ),
    "name after the arguments": (
        [[fragment(0, "c1", None, A[:5])], [fragment(0, None, "python", A[5:])]],
        [("c1", "python", A)],
    ),
    "id after the arguments": ([[fragment(0, None, None, A)], [fragment(0, "c1", "python")]], [("c1", "python", A)]),
    "second object at one index": (
        [[fragment(0, "c1", "python", A + B)], [fragment(0, None, None, f"\n{A}")]],
        [("c1", "python", A), ("new_0", "python", B), ("new_1", "python", f"\n{A}")],
    ),
    "the same object again": (
        [
            [fragment(0, "c1", "python", A[:5])],
            [fragment(0, None, None, A[5:] + A)],
            [fragment(0, "c1", None, A)],
            [fragment(0, None, None, f"\n{A[:9]}"), fragment(1, "c2", "get", B)],
            [fragment(0, None, None, A[9:])],
        ],
        [("c1", "python", A), ("c2", "get", B)],
    ),
    "the same object again, and then another": (
        [[fragment(0, "c1", "python", A)], [fragment(0, arguments=A + B[:3])], [fragment(0, arguments=B[3:])]],
        [("c1", "python", A), ("new_0", "python", B)],
    ),
    "each fragment holds all before it": (
        [
            [fragment(0, "c1", "python", A[:1])],
            *([fragment(0, arguments=A[:end])] for end in (1, 9, 9, len(A), len(A))),
        ],
        [("c1", "python", A)],
    ),
    "the whole object behind a part of it": (
        [
            [fragment(0, "c1", "python", f" {A[:3]}")],
            [fragment(0, arguments=A[3:-1])],
            [fragment(0, arguments=f" {A}")],
        ],
        [("c1", "python", f" {A}")],
    ),
    "white space behind the object": (
        [[fragment(0, "c1", "python", A)], [fragment(0, arguments="\n")], [fragment(0, arguments=" ")]],
        [("c1", "python", A + "\n ")],
    ),
    "an id of its own for each fragment": (
        [
            [fragment(0, "c1", "python", "")],
            [fragment(0, "c2", "", A[:5])],
            [fragment(0, "c3", None, A[5:])],
            [fragment(0, "c4", "get", B[:5])],
            [fragment(0, "c5", None, B[5:])],
        ],
        [("c1", "python", A), ("c4", "get", B)],
    ),
    "second name at one index": (
        [[fragment(0, "c1", "python", A)], [fragment(0, None, "get", "")], [fragment(0, None, None, B)]],
        [("c1", "python", A), ("new_0", "get", B)],
    ),
    "interleaved": (
        [
            [fragment(0, "c1", "python", ""), fragment(1, "c2", "get", "")],
            [fragment(0, arguments=A[:5]), fragment(1, arguments=B[:5])],
            [fragment(1, arguments=B[5:]), fragment(0, arguments=A[5:])],
        ],
        [("c1", "python", A), ("c2", "get", B)],
    ),
    "the same call at another index": (
        [[fragment(0, "c", "python", A), fragment(1, "c", "python", A)]],
        [("c", "python", A)],
    ),
    "arguments are an object": ([[fragment(0, "c1", "python", json.loads(A))]], [("c1", "python", A)]),
    "an empty object before the arguments": (
        [
            [fragment(0, "c1", "python", "{}"), fragment(1, "c2", "get", {})],
            [fragment(0, arguments=A[:5]), fragment(1, arguments=B[:5])],
            [fragment(0, arguments=A[5:]), fragment(1, arguments=B[5:])],
        ],
        [("c1", "python", A), ("c2", "get", B)],
    ),
    "an empty object and the arguments at once": ([[fragment(0, "c1", "python", "{}" + A)]], [("c1", "python", A)]),
    "calls without arguments": (
        [
            [fragment(0, "c1", "now", "{}"), fragment(1, "c2", "now", "")],
            [fragment(1, arguments="{ }"), fragment(1, arguments="\n")],
            [fragment(None, "", "now", "{}"), fragment(None, "", "now", "{}")],
        ],
        [("c1", "now", "{}"), ("c2", "now", "{ }\n"), ("new_0", "now", "{}"), ("new_1", "now", "{}")],
    ),
    "bare code": (
        [[fragment(0, "c1", "python", "{1}.")], [fragment(0, None, None, "x {")]],
        [("c1", "python", "{1}.x {")],
    ),
    "bare code that begins with an empty object": (
        [[fragment(0, "c1", "python", "{}")], [fragment(0, None, None, ".get(1)")]],
        [("c1", "python", "{}.get(1)")],
    ),
    "a tail at an index of its own": (
        [[fragment(0, "c1", "python", A[:5])], [fragment(1, arguments=A[5:9])], [fragment(2, arguments=A[9:])]],
        [("c1", "python", A)],
    ),
    "a head without arguments, and all of them at an index of their own": (
        [[fragment(0, "c1", "python")], [fragment(1, arguments=A)]],
        [("c1", "python", A)],
    ),
    "fragments that have the id, at indexes of their own": (
        [[fragment(0, "c1", "python", "")], *([fragment(n + 1, "c1", None, text)] for n, text in enumerate(A))],
        [("c1", "python", A)],
    ),
    "fragments that have id and name, at indexes of their own": (
        [[fragment(n, "c1", "python", text)] for n, text in enumerate(A)],
        [("c1", "python", A)],
    ),
    "fragments that have the name alone, at indexes of their own": (
        [[fragment(0, None, "python", A[:3])], [fragment(1, None, "python", A[3:])]],
        [("new_0", "python", A)],
    ),
    "the id leads back to a call behind another one": (
        [
            [fragment(0, "c1", "python", A[:5]), fragment(1, "c2", "get", B[:5])],
            [fragment(0, "c2", None, B[5:])],
            [fragment(1, "c1", None, A[5:])],
        ],
        [("c1", "python", A), ("c2", "get", B)],
    ),
    "a tail at the index of a call that is complete": (
        [[fragment(0, "c1", "python", A)], [fragment(1, "c2", "get", B[:5])], [fragment(0, arguments=B[5:])]],
        [("c1", "python", A), ("c2", "get", B)],
    ),
    "an id and the name on each fragment, all ids different": (
        [[fragment(0, "c1", "python", A[:5])], [fragment(0, "c2", "python", A[5:])]],
        [("c1", "python", A)],
    ),
    "ids of their own at indexes of their own": (
        [[fragment(0, "c1", "python", "")], [fragment(1, "c2", None, A[:5])], [fragment(2, "c3", None, A[5:])]],
        [("c1", "python", A)],
    ),
    "the same call again, spaced and escaped otherwise": (
        [
            [fragment(0, "c1", "python", json.dumps({"code": "é = 1\n", "n": [1, 2]}))],
            [fragment(1, "c1", "python", '{ "code":"\\u00e9')],
            [fragment(1, arguments=' = 1\\n" , "n":[1,'), fragment(1, arguments="2] }")],
            [fragment(0, arguments='\n{"code" : "\\u00E9 = 1\\u000a","n":[1,2]}')],
        ],
        [("c1", "python", json.dumps({"code": "é = 1\n", "n": [1, 2]}))],
    ),
    "another call of the same id": (
        [[fragment(0, "c1", "python", A)], [fragment(1, "c1", "python", B[:5])], [fragment(1, arguments=B[5:])]],
        [("c1", "python", A), ("new_0", "python", B)],
    ),
    "a call of another name and the same id": (
        [
            [fragment(0, "c1", "python", "")],
            [fragment(1, "c1", "get", "")],
            [fragment(0, arguments=A)],
            [fragment(1, arguments=B)],
        ],
        [("c1", "python", A), ("new_0", "get", B)],
    ),
    "the same again in the same name at the same index": (
        [[fragment(0, None, "python", A)], [fragment(0, None, "python", A)], [fragment(0, None, "python", "")]],
        [("new_0", "python", A)],
    ),
    "a second object at an index of its own": (
        [[fragment(0, "c1", "python", A)], [fragment(1, arguments=B[:5])], [fragment(1, arguments=B[5:])]],
        [("c1", "python", A), ("new_0", "python", B)],
    ),
    "a second call that is never named": (
        [[fragment(0, "c1", "python", A)], [fragment(1, "c2", None, B)]],
        [("c1", "python", A), ("c2", "python", B)],
    ),
    "nothing at an index of its own": (
        [
            [fragment(0, "c1", "python", A)],
            [fragment(1, "c2")],
            [fragment(2, arguments="")],
            [fragment(3, arguments="\n")],
        ],
        [("c1", "python", A)],
    ),
    "a name in pieces": (
        [
            [fragment(0, "c1", "py", "")],
            [fragment(0, None, "th")],
            [fragment(0, "c1", "on", A[:5])],
            [fragment(0, arguments=A[5:])],
        ],
        [("c1", "python", A)],
    ),
    "a name that grows": (
        [
            [fragment(0, "c1", "py")],
            [fragment(0, None, "pyth")],
            [fragment(0, None, "python")],
            [fragment(0, None, "python", A)],
        ],
        [("c1", "python", A)],
    ),
    "a name with decorations, and without": (
        [[fragment(0, "c1", "functions.python:0", A[:5])], [fragment(0, "c1", "python", A[5:])]],
        [("c1", "functions.python:0", A)],
    ),
    "arguments under another name": (
        [[CallDelta(index=0, id="c1", function=FunctionDelta(name="python", parameters=json.loads(A)))]],
        [("c1", "python", A)],
    ),
    "no function": ([[CallDelta(index=0, id="c1")], [fragment(0, None, "python", A)]], [("c1", "python", A)]),
}


@pytest.mark.parametrize(("deltas", "expected"), CASES.values(), ids=CASES.keys())
def test_calls_are_assembled(deltas: list[list[CallDelta]], expected: list[tuple[str, str, str]]) -> None:
    assert assemble(*deltas) == expected


@given(cut_lists, cut_lists, st.randoms(use_true_random=False))
def test_two_calls_are_assembled_for_any_cut_and_order(cuts_a: list[int], cuts_b: list[int], random: Any) -> None:
    queues = [
        [fragment(key, arguments=text) for text in pieces(*cut)] for key, cut in ((3, (A, cuts_a)), (1, (B, cuts_b)))
    ]
    deltas = [[fragment(3, "c1", "python")], [fragment(1, "c2", "get")]]
    while queues := [queue for queue in queues if queue]:
        deltas.append([random.choice(queues).pop(0)])
    assert assemble(*deltas) == [("c1", "python", A), ("c2", "get", B)]


@given(cut_lists)
def test_objects_in_a_row_are_parted_for_any_cut(cuts: list[int]) -> None:
    deltas = [[fragment(0, "c1", "python")]] + [[fragment(0, arguments=text)] for text in pieces(A + B + A, cuts)]
    assert [arguments for _, _, arguments in assemble(*deltas)] == [A, B, A]


def test_a_call_starts_with_its_name_and_gets_its_fragments_at_once() -> None:
    reader = assembler()
    assert reader.feed([fragment(0, "c1")]) == []
    assert reader.feed([fragment(0, None, "python", "{")]) == [(0, "python"), (0, "c1", "python"), (0, "{")]
    assert reader.feed([fragment(0, None, None, "}")]) == [(0, "}")]
    assert reader.flush() == [(0,)]
    assert reader.flush() == []


def test_characters_cut_in_halves_are_joined() -> None:
    reader = assembler()
    events = reader.feed([fragment(0, "c1", "python", "a\ud83d")]) + reader.feed([fragment(0, None, None, "\ude00")])
    assert events == [(0, "python"), (0, "c1", "python"), (0, "a"), (0, "😀")]


def test_a_call_without_a_name_breaks_the_answer() -> None:
    with pytest.raises(UpstreamBroken, match="without naming"):
        assemble([fragment(0, "c1", None, A)])


def test_a_name_without_end_breaks_the_answer() -> None:
    with pytest.raises(UpstreamBroken, match="by a name of more than"):
        assemble([fragment(0, "c1", f"{n} " * 100) for n in range(100)])


def test_a_repetition_without_end_breaks_the_answer() -> None:
    """In one fragment it would be read for minutes, were it read anew behind each object."""
    reader = assembler()
    reader.feed([fragment(0, "c1", "python", "{1}" * MAX_REPETITIONS)])
    for copy in ("{1}", "{ 1 }", "\n{1}"):
        with pytest.raises(UpstreamBroken, match="repeats one call"):
            assembler().feed([fragment(0, "c1", "python", "{1}" + copy * 600_000)])


def test_extras_are_kept() -> None:
    reader = assembler()
    reader.feed([fragment(0, "c1", "python", "{}", extra_content={"a": 1}, provider_specific_fields={"b": 2})])
    assert reader.calls[0].extras == {"extra_content": {"a": 1}, "provider_specific_fields": {"b": 2}}


def test_too_many_calls_break_the_stream() -> None:
    reader = assembler()
    reader.feed([fragment(index, f"c{index}", "python") for index in range(MAX_CALLS)])
    with pytest.raises(UpstreamBroken):
        reader.feed([fragment(MAX_CALLS, "one", "python")])
