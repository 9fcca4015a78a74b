from __future__ import annotations

import os
from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.api.files.filenames import MAX_BYTES, attachment, base_name


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("data.csv", "data.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\data.csv", "data.csv"),
        ("/mnt/data/a b é😀.tar.gz", "a b é😀.tar.gz"),
        (".bashrc", "bashrc"),
        ("..", "file"),
        ("", "file"),
        ("a/", "file"),
        ("a\x00b\n\u202ec.txt", "abc.txt"),
        ("\ud800.txt", "txt"),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
    ],
)
def test_names_become_base_names(sent: str, kept: str) -> None:
    assert base_name(sent) == kept


@settings(deadline=None)
@given(st.text(max_size=400))
@example("a/..")
@example("." * 300 + "a")
@example("é" * 150 + ".x")
def test_any_name_is_safe_short_and_stable(sent: str) -> None:
    name = base_name(sent)
    assert name not in ("", ".", "..")
    assert os.path.basename(name) == name
    assert "\\" not in name
    assert "\x00" not in name
    assert not name.startswith(".")
    assert len(name.encode()) <= MAX_BYTES
    assert base_name(name) == name


@settings(deadline=None)
@given(st.text(max_size=100).map(base_name))
def test_a_disposition_gives_the_name_back_and_is_one_clean_line(name: str) -> None:
    value = attachment(name)
    assert value.isascii()
    assert value.isprintable()
    message = Message()
    message["content-disposition"] = value
    assert unquote(value.partition("''")[2]) == name
    assert message.get_filename() is not None
