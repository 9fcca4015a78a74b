"""Cost of detection: microseconds of CPU per token of 4 characters, for statements of 50, 500 and 5,000 lines.

    python -m loadtests.detection_cost

"scan" is the detector without a parser, "lines" adds the check of each logical line, "all" the confirmation of each
chunk: what the gateway pays (large chunks are left to the sandbox). Bash has only the scan. Each number is the best of
several runs. The last table is the longest time the event loop is held: by one token, and by one slice when the code
comes as one fragment. The exit status is 1 if a limit of ours is broken.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable

from app.detection import SLICE, Confirmer, Detector, create_detector
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


def _script(lines: int) -> str:
    block = 'for f in *.txt; do\n  if grep -q "name $f" "$f"; then\n    wc -l < "$f" | sort\n  fi\ndone\n'
    return block * (lines // 5)


def _here_document(lines: int) -> str:
    return (
        "cat > table.txt <<'END'\n" + "".join(f"Line {i} of it, with $(what) is none\n" for i in range(lines)) + "END\n"
    )


SHAPES: dict[str, Callable[[int], str]] = {
    "flat code": _flat,
    "one class": _class,
    "one function": _function,
    "one literal": _literal,
    "one string": _string,
}
BASH_SHAPES: dict[str, Callable[[int], str]] = {"bash": _script, "bash, one text": _here_document}


#: Microseconds per token; 5,000 lines against 50; milliseconds.
MOST_US, MOST_GROWTH, MOST_HOLD_MS = 6.0, 1.3, 2.0


def _detect(fragments: Iterable[str], *, check_lines: bool, confirm: bool) -> None:
    detector = PythonDetector(_VERSION, check_lines=check_lines)
    confirmer = Confirmer(_VERSION)
    for fragment in fragments:
        for chunk in detector.feed(fragment):
            if confirm:
                confirmer.confirm(chunk)
    detector.flush()
    assert detector.problem is None


def _detect_bash(fragments: Iterable[str]) -> None:
    detector = create_detector("bash", _VERSION)
    for fragment in fragments:
        detector.feed(fragment)
    detector.flush()
    assert detector.problem is None


def _cut(code: str, size: int) -> list[str]:
    return [code[start : start + size] for start in range(0, len(code), size)]


def microseconds_per_token(code: str, *, check_lines: bool, confirm: bool) -> float:
    return _best_us(code, lambda fragments: _detect(fragments, check_lines=check_lines, confirm=confirm))


def _best_us(code: str, detect: Callable[[list[str]], None]) -> float:
    fragments = _cut(code, _TOKEN)
    best = float("inf")
    for _ in range(max(3, 20_000 // len(fragments))):
        start = time.process_time_ns()
        detect(fragments)
        best = min(best, time.process_time_ns() - start)
    return best / 1_000 / len(fragments)


def longest_hold_ms(code: str, size: int = SLICE, language: str = "python") -> float:
    """The longest single ``feed`` of ``size`` characters, confirmation included: of each the best of three runs, so
    that what the machine does meanwhile is not counted."""
    pieces = _cut(code, size)
    holds = [float("inf")] * len(pieces)
    for _ in range(3):
        detector: Detector = create_detector(language, _VERSION)
        confirmer = Confirmer(_VERSION)
        for number, piece in enumerate(pieces):
            start = time.process_time_ns()
            for chunk in detector.feed(piece):
                if language == "python":
                    confirmer.confirm(chunk)
            holds[number] = min(holds[number], time.process_time_ns() - start)
    return max(holds) / 1e6


def _report_costs() -> bool:
    print(f"CPython {sys.version.split()[0]}, us per token: scan / lines / all")
    print(f"{'':16}{'50 lines':>20}{'500':>20}{'5,000':>20}{'5,000 : 50':>12}")
    held = True
    for name, shape in {**SHAPES, **BASH_SHAPES}.items():
        cells = [_costs(shape(lines), bash=name in BASH_SHAPES) for lines in (50, 500, 5_000)]
        row = "".join(f"{'  '.join(f'{cost:.1f}' for cost in cell):>20}" for cell in cells)
        growth = cells[2][-1] / cells[0][-1]
        print(f"{name:16}{row}{growth:>12.2f}")
        held = held and growth <= MOST_GROWTH and max(cell[-1] for cell in cells) <= MOST_US
    return held


def _costs(code: str, *, bash: bool) -> list[float]:
    if bash:
        return [_best_us(code, _detect_bash)]
    return [microseconds_per_token(code, check_lines=check, confirm=confirm) for check, confirm in _STEPS]


def _report_holds() -> bool:
    print(f"\nlongest hold, ms, for 5,000 lines{'by token':>16}{f'slice of {SLICE}':>16}")
    codes = [(name, shape(5_000), "python") for name, shape in SHAPES.items()]
    codes += [(name, shape(5_000), "bash") for name, shape in BASH_SHAPES.items()]
    codes.append(("2 MB string", 'image = "' + "QUJD" * 500_000 + '"\n', "python"))
    longest = 0.0
    for name, code, language in codes:
        by_token = longest_hold_ms(code, _TOKEN, language)
        by_slice = longest_hold_ms(code, SLICE, language)
        print(f"{name:33}{by_token:>16.2f}{by_slice:>16.2f}")
        longest = max(longest, by_token, by_slice)
    return longest <= MOST_HOLD_MS


def main() -> int:
    gc.disable()  # its pauses depend on the rest of the process
    held = [_report_costs(), _report_holds()]
    return 0 if all(held) else 1


_STEPS = ((False, False), (True, False), (True, True))


if __name__ == "__main__":
    sys.exit(main())
