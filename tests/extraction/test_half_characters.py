from hypothesis import given
from hypothesis import strategies as st

from app.extraction.half_characters import HalfCharacters
from tests.extraction.splits import cut_lists, pieces


def utf16_halves(text: str) -> str:
    """Every character outside the BMP as two."""
    units = text.encode("utf-16-le")
    return "".join(chr(int.from_bytes(units[at : at + 2], "little")) for at in range(0, len(units), 2))


@given(st.text(), cut_lists)
def test_halves_are_joined_for_any_cut(text: str, cuts: list[int]) -> None:
    joiner = HalfCharacters()
    joined = "".join(map(joiner.feed, pieces(utf16_halves(text), cuts))) + joiner.flush()
    assert joined == text


def test_a_half_without_its_other_is_replaced() -> None:
    joiner = HalfCharacters()
    assert [joiner.feed("a\ud83d"), joiner.feed("b\ude00"), joiner.feed("\ud83d"), joiner.flush()] == [
        "a", "\ufffdb\ufffd", "", "\ufffd",
    ]  # fmt: skip
