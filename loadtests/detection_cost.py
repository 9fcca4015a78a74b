"""Cost of detection: microseconds of CPU per token of 4 characters, for statements of 50, 500 and 5,000 lines.

    python -m loadtests.detection_cost

"scan" is the detector without a parser, "lines" adds the check of each logical line, "all" the confirmation of each
chunk: what the gateway pays (large chunks are left to the sandbox). Each number is the best of several runs. The last
table is the longest time the event loop is held by one fragment, when it is fed in slices.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable

from app.detection import SLICE
from app.detection.confirm import Confirmer
from app.detection.python import PythonDetector

_VERSION = sys.version_info[:2]
_TOKEN = 4


def _flat(lines: int) -> str:
    return "".join(f'value_{i} = compute(value_{i - 1}, "name", {i}) + table[{i}]\n' for i in range(lines))


def _class(lines: int) -> str:
    methods = (
        f"    def method_{i}(self, first, second=None):\n        total = first + {i} * len(self.items)\n"
        f"        if second is not None:\n            total += second\n        return self.scale(total, {i})\n"
        for i in range(lines // 5)
    )
    return "class Big:\n" + "".join(methods)


def _function(lines: int) -> str:
    return "def big(x):\n" + "".join(f"    y_{i} = transform(x, {i}) + y_{i - 1} * 2\n" for i in range(lines))


def _literal(lines: int) -> str:
    return "table = {\n" + "".join(f'    "key_{i}": [{i}, "value", {i}.5, None],\n' for i in range(lines)) + "}\n"


def _string(lines: int) -> str:
    return (
        'text = """\n'
        + "".join(f"Line {i} of a long text, with 'quotes' and # signs.\n" for i in range(lines))
        + '"""\n'
    )


SHAPES: dict[str, Callable[[int], str]] = {
    "flat code": _flat,
    "one class": _class,
    "one function": _function,
    "one literal": _literal,
    "one string": _string,
}


def _detect(fragments: Iterable[str], *, check_lines: bool, confirm: bool) -> None:
    detector = PythonDetector(_VERSION, check_lines=check_lines)
    confirmer = Confirmer(_VERSION)
    for fragment in fragments:
        for chunk in detector.feed(fragment):
            if confirm:
                confirmer.confirm(chunk)
    detector.flush()
    assert detector.problem is None


def _cut(code: str, size: int) -> list[str]:
    return [code[start : start + size] for start in range(0, len(code), size)]


def microseconds_per_token(code: str, *, check_lines: bool, confirm: bool) -> float:
    fragments = _cut(code, _TOKEN)
    best = float("inf")
    for _ in range(max(3, 20_000 // len(fragments))):
        start = time.process_time_ns()
        _detect(fragments, check_lines=check_lines, confirm=confirm)
        best = min(best, time.process_time_ns() - start)
    return best / 1_000 / len(fragments)


def longest_hold_ms(code: str) -> float:
    """The longest single ``feed`` of a slice, confirmation included, when the code arrives as one fragment."""
    longest = []
    for _ in range(3):
        detector, confirmer, worst = PythonDetector(_VERSION), Confirmer(_VERSION), 0
        for piece in _cut(code, SLICE):
            start = time.process_time_ns()
            for chunk in detector.feed(piece):
                confirmer.confirm(chunk)
            worst = max(worst, time.process_time_ns() - start)
        longest.append(worst)
    return min(longest) / 1e6


def main() -> None:
    gc.disable()  # its pauses depend on the rest of the process
    print(f"CPython {sys.version.split()[0]}, us per token: scan / lines / all")
    print(f"{'':14}{'50 lines':>20}{'500':>20}{'5,000':>20}{'5,000 : 50':>12}")
    for name, shape in SHAPES.items():
        cells = []
        for lines in (50, 500, 5_000):
            code = shape(lines)
            cells.append([microseconds_per_token(code, check_lines=c, confirm=a) for c, a in _STEPS])
        row = "".join(f"{'  '.join(f'{cost:.1f}' for cost in cell):>20}" for cell in cells)
        print(f"{name:14}{row}{cells[2][2] / cells[0][2]:>12.2f}")
    print(f"\nlongest hold, ms, for 5,000 lines in slices of {SLICE} characters")
    for name, shape in SHAPES.items():
        print(f"{name:14}{longest_hold_ms(shape(5_000)):>6.2f}")
    print(f"{'2 MB string':14}{longest_hold_ms(_literal_string()):>6.2f}")


_STEPS = ((False, False), (True, False), (True, True))


def _literal_string() -> str:
    return 'image = "' + "QUJD" * 500_000 + '"\n'


if __name__ == "__main__":
    main()
