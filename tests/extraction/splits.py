"""Texts cut in every way: whole, one character at a time, and as hypothesis likes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hypothesis import strategies as st


def pieces(text: str, cuts: list[int]) -> list[str]:
    """``text`` cut at the given places, with an empty fragment where a cut comes twice."""
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(places)]


def plain_splits(text: str) -> Iterator[list[str]]:
    yield [text]
    for size in (1, 2, 3, 7):
        yield [text[at : at + size] for at in range(0, len(text), size)]


cut_lists = st.lists(st.integers(0, 10_000), max_size=12)
