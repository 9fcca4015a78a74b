"""Program. The fonts that come as libraries (sets/core.in), for matplotlib: under their own names, and under those that
programs ask for when they want Chinese, Japanese or Korean text."""

from __future__ import annotations

import importlib.util
import os
from types import ModuleType
from typing import Final

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


def add(font_manager: ModuleType) -> None:
    """To ``matplotlib.font_manager``; what it has found by itself stays. The files are opened when they are used."""
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
