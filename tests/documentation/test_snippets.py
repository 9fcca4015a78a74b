"""Every snippet of the pages does what the page says, on one gateway with the replay upstream.

Blocks in ``sh`` and ``python`` are run from top to bottom, those of one page in one shell or one interpreter. A block
that is not says why in a comment before it: ``<!-- not run: why -->``. A block after ``<!-- prints -->`` shows what the
one before has said: its lines are there in this order, others may stand between, and ``…`` stands for anything.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tests.backends import require_backend
from tests.documentation.pages import PROJECT, Block, blocks_of, pages
from tests.scenarios.servers import eager

PYTHON = Path(sys.executable)
#: Printed between two blocks.
MARK = "--- next block ---"
RUN_BY = {
    "sh": (["bash", "-eu", "-o", "pipefail", "-c"], f"echo '{MARK}'"),
    "python": ([str(PYTHON), "-W", "error", "-c"], f"print({MARK!r}, flush=True)"),
}
#: What is shown, and not run.
SHOWN = {"", "text", "json", "yaml", "toml", "markdown"}


def is_run(block: Block) -> bool:
    return block.language in RUN_BY and not block.note.startswith("not run")


ALL = [block for page in pages() for block in blocks_of(page)]
PAGES = {page: run for page in pages() if (run := [block for block in ALL if block.page == page and is_run(block)])}


@pytest.fixture(scope="module")
def gateway_url() -> Iterator[str]:
    require_backend("local")
    with (
        eager("upstream", "--tps", "200", "--ttft-ms", "100") as upstream,
        eager("serve", EAGER_UPSTREAM_BASE_URL=f"{upstream.url}/v1", EAGER_PRELOAD="", EAGER_POOL_SIZE="1") as gateway,
    ):
        yield gateway.url


@pytest.mark.local
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_snippets_of_a_page_run_and_print_what_it_shows(page: Path, gateway_url: str, tmp_path: Path) -> None:
    said: dict[Block, str] = {}
    for language in RUN_BY:
        blocks = [block for block in PAGES[page] if block.language == language]
        if blocks:
            said |= zip(blocks, run(blocks, gateway_url, tmp_path), strict=True)
    for block, shown in pairwise([block for block in ALL if block.page == page]):
        if shown.note == "prints":
            assert missing_of(shown.text, said[block]) is None, said[block]


def run(blocks: Sequence[Block], url: str, folder: Path) -> list[str]:
    """What each of them printed."""
    command, say_mark = RUN_BY[blocks[0].language]
    text = f"\n{say_mark}\n".join(block.text for block in blocks).replace("localhost:8000", url.removeprefix("http://"))
    environment = {**os.environ, "PATH": f"{PYTHON.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*command, text], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split(f"{MARK}\n")


def missing_of(shown: str, said: str) -> str | None:
    """The first line that is not there, None if all are."""
    at = 0
    for line in shown.splitlines():
        pattern = ".*?".join(map(re.escape, line.split("…")))
        found = re.compile(pattern).search(said, at)
        if found is None:
            return line
        at = found.end()
    return None


def test_a_line_that_was_not_printed_is_seen() -> None:
    assert missing_of("a 1\nb …!", "a 1\nmore\nb 2!\n") is None
    assert missing_of("b …!\na 1", "a 1\nmore\nb 2!\n") == "a 1"


def test_a_block_that_is_not_run_says_why() -> None:
    unknown = [f"{block.page.name}:{block.line}" for block in ALL if block.language not in SHOWN | set(RUN_BY)]
    assert unknown == []
    assert all(len(block.note) > 20 for block in ALL if block.note.startswith("not run"))
