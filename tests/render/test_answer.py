from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.events import (
    CodeEnd,
    CodeStart,
    Event,
    ExecError,
    ExecResult,
    FileChange,
    Interrupt,
    SessionLost,
    Token,
    TurnEnd,
)
from app.render.code_blocks import Style
from app.render.markers import find_markers
from app.render.said import HEAD_LINES, Link
from tests.render.told import PARSER, Call, answer, begun, done, executed, fences, kinds, text_of, words

NASTY = st.text(alphabet="`~ab\n#<>|[]/:()-=*\t$", min_size=1, max_size=30)
STYLES: list[Style] = ["markdown", "interleaved"]


def turn_end(turn: int = 0) -> Event:
    return TurnEnd(turn=turn, finish_reason="stop", usage=None)


def fence_events(text: str, printed: str, *, cut: int, late: int) -> list[Event]:
    """A fence in the words, cut there; its output comes ``late`` pieces of text later than it could."""
    whole = f"First:\n```python\n{text}\n```\nThen words."
    pieces: list[Event] = [words(whole[:cut]), words(whole[cut:])]
    code = [
        CodeStart(call_id="f", turn=0, source="fence", language="python"),
        Token(turn=0, channel="code", text=text + "\n", call_id="f"),
        *executed("f", 0, printed),
        CodeEnd(call_id="f", code=text, status="ok", ran=1, chunks=1),
    ]
    return [*pieces, *code, words(" More."), turn_end()] if late else [*pieces[:2], *code, words(" More."), turn_end()]


def test_code_comes_in_a_fence_and_what_it_printed_below() -> None:
    call = Call([("x = 1\n", ""), ("print(x)\n", "1\n"), ("print(2)", "2\n")])
    text = text_of(answer(), [begun(), words("See."), *call.events(), words("Done.", 1), turn_end(1), done()])
    assert fences(text) == [("python", "x = 1\nprint(x)\nprint(2)\n"), ("text", "1\n2\n")]
    assert kinds(text) == ["paragraph_open", "fence", "fence", "paragraph_open"]


def test_interleaved_output_stands_behind_its_statement() -> None:
    call = Call([("x = 1\n", ""), ("print(x)\n", "1\n"), ("\n\nprint(2)", "2\n")], fragments=3)
    text = text_of(answer("interleaved"), [*call.events(), done()])
    assert fences(text) == [("python", "x = 1\nprint(x)\n"), ("text", "1\n"), ("python", "print(2)\n"), ("text", "2\n")]


def test_interleaved_code_waits_for_the_statement_that_runs() -> None:
    core = answer("interleaved")
    events = Call([("slow()\n", "done\n")]).events()
    output = next(number for number, event in enumerate(events) if event.__class__.__name__ == "ExecOutput")
    behind = Token(turn=0, channel="code", text="next_one = 1\n", call_id="call_1")
    before = text_of(core, [*events[:output], behind])
    assert "next_one" not in before
    after = text_of(core, [*events[output:-2], *events[-2:]])
    assert after.index("done") < after.index("next_one")


@pytest.mark.parametrize("style", STYLES)
@given(statements=st.lists(st.tuples(NASTY, st.just("") | NASTY), min_size=1, max_size=5), fragments=st.integers(1, 9))
def test_whatever_code_and_output_hold_the_blocks_are_those_meant(
    style: Style, statements: list[tuple[str, str]], fragments: int
) -> None:
    call = Call([(f"{source}\n", printed) for source, printed in statements], fragments=fragments)
    text = text_of(answer(style), [words("Before"), *call.events(), words("after", 1), turn_end(1), done()])
    found = kinds(text)
    assert (found[0], found[-1]) == ("paragraph_open", "paragraph_open")
    assert set(found[1:-1]) <= {"fence"}
    code = "".join(content for info, content in fences(text) if info == "python")
    assert _packed(code) == _packed("".join(source for source, _ in call.statements))
    printed = "".join(content for info, content in fences(text) if info == "text")
    assert _packed(printed) == _packed("".join(printed for _, printed in call.statements))
    assert [mark.edge for mark in find_markers(text)] == ["in", "out", "next"]


def _packed(text: str) -> str:
    """Without white space: fences and statements share it, and blank lines alone open no fence."""
    return "".join(text.split())


@pytest.mark.parametrize("style", STYLES)
@given(source=NASTY, printed=NASTY, fragments=st.integers(1, 4))
def test_a_text_that_is_cut_anywhere_shows_no_marker(style: Style, source: str, printed: str, fragments: int) -> None:
    core = answer(style)
    text = ""
    for event in [words("Before."), *Call([(f"{source}\n", printed)], fragments=fragments).events(), done()]:
        text += text_of(core, [event])
        inlines = [token.content for token in PARSER.parse(text) if token.type == "inline"]
        assert not any("eager:" in inline for inline in inlines)


@given(
    text=NASTY.filter(lambda text: "```" not in text),
    printed=NASTY,
    cut=st.integers(0, 60),
    late=st.integers(0, 1),
)
def test_output_of_code_in_the_words_stands_behind_its_fence(text: str, printed: str, cut: int, late: int) -> None:
    events = fence_events(text, printed, cut=cut, late=late)
    shown = text_of(answer(sources=("fence",)), [*events, done()])
    assert shown.startswith(f"First:\n```python\n{text}\n```\n")
    assert shown.endswith("\n\nThen words. More.")
    assert _packed("".join(content for info, content in fences(shown) if info == "text")) == _packed(printed)


def test_a_fence_that_is_never_closed_ends_before_what_is_added() -> None:
    events = [
        words("```python\nprint(1)"),
        CodeStart(call_id="f", turn=0, source="fence", language="python"),
        turn_end(),
        *executed("f", 0, "1\n"),
        CodeEnd(call_id="f", code="print(1)", status="ok", ran=1, chunks=1),
        done(),
    ]
    assert fences(text_of(answer(sources=("fence",)), events)) == [("python", "print(1)\n"), ("text", "1\n")]


def test_two_calls_are_shown_one_after_the_other_however_their_events_mix() -> None:
    first, second = Call([("a\n", "1\n")], id="a").events(), Call([("b\n", "2\n")], id="b").events()
    over = first[-2]  # the end of the turn
    mixed = [*first[:3], *second[:3], over, *first[3:-2], first[-1], *second[3:-2], second[-1], done()]
    shown = text_of(answer(), mixed)
    assert fences(shown) == [("python", "a\n"), ("text", "1\n"), ("python", "b\n"), ("text", "2\n")]


def test_many_fences_in_one_delta_are_each_followed_by_what_they_said() -> None:
    count = 300
    events: list[Event] = [words("```python\nx\n```\n" * count + "over")]
    for number in range(count):
        events.append(CodeStart(call_id=f"f{number}", turn=0, source="fence", language="python"))
    for number in range(count):
        events += executed(f"f{number}", number, f"{number}\n")
        events.append(CodeEnd(call_id=f"f{number}", code="x\n", status="ok", ran=1, chunks=1))
    shown = text_of(answer(sources=("fence",)), [*events, turn_end(), done()])
    assert [content for info, content in fences(shown) if info == "text"] == [f"{number}\n" for number in range(count)]
    assert shown.endswith("\n\nover")


def test_an_error_is_told_with_its_line_and_the_traceback_folded() -> None:
    error = ExecError(
        call_id="call_1", batch=0, chunk=0, ename="ValueError", evalue="bad `x` </details> *y*\n# z",
        traceback="Traceback\n\x1b[31mValueError\x1b[0m: </details>\n", line=3, phase="run",
    )  # fmt: skip
    call = Call([("x\n", "")]).events()
    ended = CodeEnd(call_id="call_1", code="x\n", status="error", ran=0, chunks=1)
    stop = Interrupt(call_id="call_1", reason="error")
    shown = text_of(answer(), [*call[:-3], error, *call[-3:-2], ended, stop, call[-2], words("Again", 1), done()])
    assert "**ValueError** in line 3: ``bad `x` </details> *y* # z``" in shown
    assert fences(shown) == [("python", "x\n"), ("text", "Traceback\nValueError: </details>\n")]
    assert "*The model was stopped here, and goes on with a correction.*" in shown
    assert kinds(shown).count("html_block") == 2


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("timeout", "The time limit was reached"),
        ("incomplete", "The code was cut off"),
        ("interrupted", "The code was stopped"),
    ],
)
def test_an_end_that_is_none_is_told_in_a_sentence(status: str, told: str) -> None:
    call = Call([("x\n", "")]).events()
    ended = CodeEnd(call_id="call_1", code="x\n", status=status, ran=0, chunks=1)  # type: ignore[arg-type]
    assert told in text_of(answer(), [*call[:-1], ended, done()])


def test_a_lost_interpreter_is_told() -> None:
    call = Call([("x\n", "")]).events()
    lost = SessionLost(reason="memory", detail="")
    assert "The interpreter was lost, with its variables (memory)" in text_of(answer(), [*call[:-3], lost, *call[-3:]])


def test_tables_figures_and_files_are_shown() -> None:
    call = Call([("x\n", "")]).events()
    html = {"text/html": "<table><tr><th>a</th></tr><tr><td>1</td></tr></table>", "text/plain": "   a\n0  1"}
    table = ExecResult(call_id="call_1", batch=0, repr=None, data=html, images=[])
    figure = ExecResult(call_id="call_1", batch=0, repr=None, data={"image/png": "..."}, images=["data:..."])
    changes = [FileChange(path="o]ut.csv", change="created", bytes=10)]
    end = CodeEnd(call_id="call_1", code="x\n", status="ok", ran=1, chunks=1, files=changes)
    core = answer()
    shown = text_of(core, [*call[:-3], table])
    shown += text_of_event(core, figure, [Link("Figure 1", "https://eager.example/v1/shared/t/figure-1.png")])
    shown += text_of(core, call[-3:-1])
    shown += text_of_event(core, end, [Link("o]ut.csv", "https://eager.example/v1/shared/t/out.csv", 10)])
    shown += text_of(core, [done()])
    html_text = PARSER.render(shown)
    assert "<th>a</th>" in html_text
    assert '<img src="https://eager.example/v1/shared/t/figure-1.png" alt="Figure 1"' in html_text
    assert '<a href="https://eager.example/v1/shared/t/out.csv">o]ut.csv</a> (10 bytes)' in html_text


def test_what_has_no_text_of_its_own_is_told_in_words() -> None:
    call = Call([("x\n", "")]).events()
    html = {"text/html": "<p>Hello <b>you</b></p>", "text/plain": "<IPython.core.display.HTML object>"}
    shown = ExecResult(call_id="call_1", batch=0, repr=None, data=html, images=[])
    text = text_of(answer(), [*call[:-3], shown, *call[-3:], done()])
    assert fences(text)[1] == ("text", "Hello you\n")


def text_of_event(core, event: Event, links: list[Link]) -> str:  # type: ignore[no-untyped-def]
    return "".join(shown.text for shown in core.feed(event, links) if isinstance(shown, Token))


def test_long_output_is_shown_by_its_beginning_and_its_end() -> None:
    printed = "".join(f"line {number}\n" for number in range(5000))
    shown = text_of(answer(), [*Call([("x\n", printed)]).events(), done()])
    (_, (_, head), (_, tail)) = fences(shown)
    assert head == "".join(f"line {number}\n" for number in range(HEAD_LINES))
    assert tail.endswith("line 4999\n")
    assert "more lines" in shown
    assert len(shown) < 4000


def test_a_progress_bar_is_shown_as_a_terminal_leaves_it() -> None:
    printed = "".join(f"\r{percent}%" for percent in range(101)) + "\n\x1b[32mok\x1b[0m\n"
    assert fences(text_of(answer(), [*Call([("x\n", printed)]).events(), done()]))[1] == ("text", "100%\nok\n")
