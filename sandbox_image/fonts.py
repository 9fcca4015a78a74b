"""Program. The fonts that come as libraries (sets/core.in), for matplotlib: under their own names, under those that
programs ask for when they want Chinese, Japanese or Korean text, and, once there is text that matplotlib's own font has
not, behind whatever font the program has chosen.

No function of ours may stand between the program and matplotlib: that there is such text is seen where a ``Text`` keeps
it, which is a property here.
"""

from __future__ import annotations

import importlib.util
import os
import re
from types import ModuleType
from typing import Any, Final

_CJK: Final = ("noto_cjk_sans_jp_regular", "NotoSansCJKjp-Regular.otf")
#: Of other systems, all sans serif; ours has the characters of all of them.
_CJK_NAMES: Final = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK KR", "Noto Sans SC", "Noto Sans JP"),
    *("SimHei", "Microsoft YaHei", "SimSun", "PingFang SC", "Heiti SC", "Heiti TC", "STHeiti", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Source Han Sans SC", "Source Han Sans CN", "Arial Unicode MS", "Microsoft JhengHei"),
    *(
        "MS Gothic",
        "Yu Gothic",
        "Meiryo",
        "Hiragino Sans",
        "IPAexGothic",
        "TakaoGothic",
        "Malgun Gothic",
        "NanumGothic",
    ),
    *("AppleGothic", "Noto Sans KR", "Noto Sans TC"),
)
_OTHERS: Final = (
    ("manimgx_fonts", "NotoEmoji[wght].ttf", "Noto Emoji"),
    ("manimgx_fonts", "NotoSansSymbols[wght].ttf", "Noto Sans Symbols"),
    ("manimgx_fonts", "NotoSansArabic[wght].ttf", "Noto Sans Arabic"),
    ("manimgx_fonts", "NotoSansDevanagari[wght].ttf", "Noto Sans Devanagari"),
    ("manimgx_fonts", "NotoSansHebrew[wght].ttf", "Noto Sans Hebrew"),
    ("manimgx_fonts", "NotoSansThai[wght].ttf", "Noto Sans Thai"),
)
#: Scripts and symbols that DejaVu Sans, matplotlib's own font, has not, or not all of: from Devanagari on, without
#: punctuation, arrows and mathematics, which every tick has.
_BEYOND_DEJAVU: Final = re.compile(
    "[\u0590-\u06ff\u0900-\u10ff\u1100-\u11ff\u2300-\u2bff\u2e80-\ufaff\ufe30-\U0010ffff]"
)
_TEXT: Final = "_text"

#: Set for good by the first text that needs other fonts. Opening them takes milliseconds, which others need not pay.
_wanted = False


def watch(text: ModuleType) -> None:
    """``matplotlib.text``: notice what is to be written."""

    def get_text(artist: Any) -> Any:
        try:
            return artist.__dict__[_TEXT]
        except KeyError:
            raise AttributeError(_TEXT) from None

    def set_text(artist: Any, said: Any) -> None:
        global _wanted
        artist.__dict__[_TEXT] = said
        if not _wanted and isinstance(said, str) and not said.isascii() and _BEYOND_DEJAVU.search(said):
            _wanted = True

    text.Text._text = property(get_text, set_text)


def add(font_manager: ModuleType) -> None:
    """To ``matplotlib.font_manager``; what it has found by itself stays. The files are opened when they are used."""
    _add_names(font_manager)
    _stand_behind(font_manager)


def _stand_behind(font_manager: ModuleType) -> None:
    manager = font_manager.fontManager
    find = getattr(manager, "_find_fonts_by_props", None)
    if find is None or "_find_fonts_by_props" in vars(manager):
        return
    paths = [path for path in (_path(*_CJK), *(_path(package, file) for package, file, _ in _OTHERS)) if path]

    def find_fonts(*asked: Any, **options: Any) -> list[Any]:
        found: list[Any] = find(*asked, **options)
        if not _wanted or options.get("fontext", "ttf") != "ttf":
            return found
        return [*found, *(path for path in paths if path not in found)]

    manager._find_fonts_by_props = find_fonts


def _add_names(font_manager: ModuleType) -> None:
    known = {entry.name for entry in font_manager.fontManager.ttflist}
    if {name for *_, name in _OTHERS} <= known:
        return  # done before, by the zygote
    wanted = [(*_CJK, name) for name in _CJK_NAMES]
    paths = {key: _path(*key) for key in {(package, file) for package, file, _ in (*wanted, *_OTHERS)}}
    for package, file, name in (*wanted, *_OTHERS):
        path = paths[package, file]
        if path is not None and name not in known:
            entry = font_manager.FontEntry(
                fname=path, name=name, style="normal", variant="normal", weight=400, stretch="normal", size="scalable"
            )
            font_manager.fontManager.ttflist.append(entry)


def _path(package: str, file: str) -> str | None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = os.path.join(os.path.dirname(spec.origin), file)
    return path if os.path.exists(path) else None
