from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.responses.citations import cite

FILES = {"/mnt/data/a.csv": "f1", "/mnt/data/a.csv.gz": "f2", "/mnt/data/é 1.png": "f3", "/mnt/data/d/a.csv": "f4"}


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("[x](sandbox:/mnt/data/a.csv)", ["f1"]),
        ("[x](sandbox:/mnt/data/a.csv.gz) and sandbox:/mnt/data/a.csv.", ["f2", "f1"]),
        ("[x](sandbox:/mnt/data/é 1.png) [y](sandbox:/mnt/data/%C3%A9%201.png)", ["f3", "f3"]),
        ("[x](sandbox:/mnt/data/d/a.csv)", ["f4"]),
        ("[x](sandbox:/mnt/data/a.csv2) sandbox:/mnt/data/a.csv/b sandbox:/mnt/data/b.csv", []),
        ("/mnt/data/a.csv and sandbox:/tmp/a.csv", []),
        ("sandbox:/mnt/data/", []),
    ],
)
def test_links_to_known_files_are_cited_in_order(text: str, cited: list[str]) -> None:
    found = cite(text, FILES, container_id="cntr_1")
    assert [annotation["file_id"] for annotation in found] == cited
    for annotation in found:
        assert text[annotation["start_index"] :].startswith("sandbox:/mnt/data/")
        assert not text[annotation["end_index"] - 1].isspace()
        assert annotation["container_id"] == "cntr_1"


@settings(deadline=None)
@given(st.lists(st.sampled_from(["sandbox:", "/mnt/data/", "a.csv", ".gz", "é 1.png", "%20", ")", " "]), max_size=12))
def test_ranges_never_overlap_and_stay_within_the_text(parts: list[str]) -> None:
    text = "".join(parts)
    edges = [
        edge for found in cite(text, FILES, container_id="c") for edge in (found["start_index"], found["end_index"])
    ]
    assert edges == sorted(edges)
    assert all(0 <= edge <= len(text) for edge in edges)
