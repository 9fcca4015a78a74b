"""Where Markdown of ours can stand behind text of a model.

A fence or an HTML block that the model has left open would swallow it. What closes that is asked of a Markdown parser,
which knows all the ways in which a block can be open (CommonMark 4.5, 4.6).
"""

from __future__ import annotations

import re

from markdown_it import MarkdownIt

#: Text that is looked at from its beginning; of a longer one, its end.
MAX_CHARS = 100_000
_PROBE = "eager"
_MAY_BE_OPEN = re.compile(r"^[^\n]*(?:```|~~~|<)", re.MULTILINE)
_HTML_CLOSERS = ("-->", "</script>", "</pre>", "</style>", "</textarea>", "?>", ">", "]]>")
_blocks = MarkdownIt("commonmark").disable("inline")


def closer(text: str) -> str:
    """What has to follow ``text``, so that an empty line and a paragraph behind it are a paragraph of its own: mostly
    nothing. It begins with a line end."""
    text = text[-MAX_CHARS:]
    if _MAY_BE_OPEN.search(text) is None or _ends_well(text):
        return ""
    last = _blocks.parse(text)[-1]
    candidates = _HTML_CLOSERS if last.type == "html_block" else (last.markup,)
    for candidate in candidates:
        if _ends_well(f"{text}\n{candidate}"):
            return f"\n{candidate}"
    return ""


def _ends_well(text: str) -> bool:
    tokens = _blocks.parse(f"{text}\n\n{_PROBE}\n")
    return (
        len(tokens) >= 3
        and [token.type for token in tokens[-3:]] == ["paragraph_open", "inline", "paragraph_close"]
        and tokens[-3].level == 0
        and tokens[-2].content == _PROBE
    )
