from hypothesis import given
from hypothesis import strategies as st

from app.pipeline.transcript import Transcript
from app.sandbox.worker.messages import Display, Failure, Output, Result


def test_a_short_transcript_is_complete_and_in_order() -> None:
    transcript = Transcript()
    transcript.add(Output("stdout", "a\n"))
    transcript.add(Display(1, {"image/png": "..."}))
    transcript.add(Result(1, {"text/plain": "42", "text/html": "<b>42</b>"}))
    transcript.fail(Failure(1, 0, "ValueError", "no", "Traceback ...\nValueError: no\n"))
    assert str(transcript) == "a\n[image/png]\n42\nTraceback ...\nValueError: no\n"


#: Without what moves a cursor.
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"], include_characters="\n"), max_size=40)


@given(st.lists(TEXTS), st.integers(2, 60))
def test_a_long_transcript_keeps_both_ends_and_says_how_much_is_missing(texts: list[str], limit: int) -> None:
    transcript = Transcript(limit)
    for text in texts:
        transcript.add(Output("stdout", text))
    whole, half = "".join(texts), limit // 2
    if len(whole) <= 2 * half:
        assert str(transcript) == whole
    else:
        missing, lines = len(whole) - 2 * half, whole.count("\n")
        gap = f"\n[... {missing:,} of {len(whole):,} characters ({lines:,} lines) left out ...]\n"
        assert str(transcript) == whole[:half] + gap + whole[-half:]


def test_the_model_sees_what_a_terminal_would_show() -> None:
    transcript = Transcript()
    for percent in range(101):
        transcript.add(Output("stderr", f"\r\x1b[32m{percent}%\x1b[0m"))
    transcript.add(Output("stdout", "\ndone\n"))
    assert str(transcript) == "100%\ndone\n"


def test_what_was_cleared_is_not_told() -> None:
    transcript = Transcript()
    transcript.add(Output("stdout", "step 1\n"))
    transcript.add(Display(1, {"image/png": "..."}))
    transcript.add(Output("stdout", "\x1b[H\x1b[2J\x1b[3Jstep 2\n"))
    assert str(transcript) == "step 2\n"


def test_a_display_stands_on_lines_of_its_own() -> None:
    transcript = Transcript()
    transcript.add(Output("stdout", "no line end"))
    transcript.add(Display(1, {"text/plain": "42"}))
    transcript.add(Output("stdout", "\rmore"))
    assert str(transcript) == "no line end\n42\nmore"
