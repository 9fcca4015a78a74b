"""Program. What a figure is drawn from, as a value that can be compared.

All of it is in attributes: of its artists, of what places and writes the ticks, and of what these refer to (transforms,
paths, colormaps, fonts, layout). An attribute refers to another object when it was replaced, and matplotlib marks an
artist that was changed as stale, in an attribute as well.
"""

from __future__ import annotations

import sys
from typing import Any, Final

#: Values that are compared; other objects are the same or not.
_PLAIN: Final = frozenset({bool, int, float, str, bytes, type(None)})
#: Whose classes hold nothing that is not in their attributes.
_LIBRARIES: Final = ("matplotlib.", "mpl_toolkits.", "pandas.", "seaborn.")
#: Elements of a list or dictionary that are looked at.
_FEW: Final = 100
#: Bytes of an array that are compared.
_SMALL: Final = 4096
#: Attribute of a transform: who uses it changes with every look at it.
_USERS: Final = "_parents"

FigureState = list[object]


def parts_of(figure: Any) -> list[Any] | None:
    """Artists, locators, formatters and layout; None if one is of a class, or calls a function, of the program's."""
    parts = [figure.get_layout_engine()]
    found = [figure]
    while found:
        part = found.pop()
        if _is_foreign(part):
            return None
        parts.append(part)
        if "offsetText" in vars(part):  # an axis, whose ``get_children`` would place the ticks anew
            found += [part.label, part.offsetText, *vars(part).get("majorTicks", ()), *vars(part).get("minorTicks", ())]
            parts += [part.major.locator, part.major.formatter, part.minor.locator, part.minor.formatter]
        else:
            found += part.get_children()
    return None if any(map(_is_foreign, parts)) else parts


def of(figure: Any) -> FigureState:
    """Different from every other one if that cannot be known.

    A figure has tens of thousands of attributes, most of them plain: those are not to cost a call each.
    """
    parts = parts_of(figure)
    if parts is None:
        return [object()]
    seen = set(map(id, parts))
    looked_into: dict[type, bool] = {}
    state: FigureState = []
    for part in parts:
        attributes = getattr(part, "__dict__", {})
        state += attributes
        inside: list[tuple[str, Any]] = []
        for value in attributes.values():
            kind = type(value)
            if kind in _PLAIN:
                state.append(value)
                continue
            state.append(_seen_from_outside(value, kind))
            if kind not in looked_into:
                looked_into[kind] = kind.__module__.startswith(_LIBRARIES)
            if looked_into[kind] and id(value) not in seen:
                seen.add(id(value))
                inside += getattr(value, "__dict__", {}).items()
        state += [
            value if type(value) in _PLAIN else _seen_from_outside(value, type(value))
            for name, value in inside
            if name != _USERS
        ]
    return state


def _is_foreign(part: Any) -> bool:
    kind = type(part)
    if part is not None and not kind.__module__.startswith(_LIBRARIES):
        return True
    if kind.__name__ != "FuncFormatter":
        return False
    function = getattr(part.func, "func", part.func)  # words for ticks are a functools.partial
    return not getattr(function, "__module__", "").startswith(_LIBRARIES)


def _seen_from_outside(value: Any, kind: type) -> object:
    """``kind`` is its type, and not a plain one."""
    if kind is dict and len(value) <= _FEW:
        value = [*value, *value.values()]
        kind = list
    if (kind is list or kind is tuple) and len(value) <= _FEW:
        return tuple(item if type(item) in _PLAIN else id(item) for item in value)
    if (
        kind is getattr(sys.modules.get("numpy"), "ndarray", None)
        and value.nbytes <= _SMALL
        and not value.dtype.hasobject
    ):
        return id(value), value.tobytes()
    return id(value)
