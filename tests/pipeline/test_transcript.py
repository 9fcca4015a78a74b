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


@given(st.lists(st.text(max_size=40)), st.integers(2, 60))
def test_a_long_transcript_keeps_both_ends_and_says_how_much_is_missing(texts: list[str], limit: int) -> None:
    transcript = Transcript(limit)
    for text in texts:
        transcript.add(Output("stdout", text))
    whole, half = "".join(texts), limit // 2
    if len(whole) <= 2 * half:
        assert str(transcript) == whole
    else:
        missing = len(whole) - 2 * half
        gap = f"\n[... {missing} characters left out ...]\n"
        assert str(transcript) == whole[:half] + gap + whole[-half:]
