"""Stage 3: code text -> chunks, each emitted at the first character after which it can no longer change."""

from typing import Final

from app.detection.bash import BashDetector
from app.detection.chunk import Chunk, Detector, SyntaxProblem
from app.detection.confirm import Confirmer, is_large
from app.detection.prompts import PromptedDetector
from app.detection.python import PythonDetector

__all__ = ["SLICE", "Chunk", "Confirmer", "Detector", "SyntaxProblem", "create_detector", "is_large"]

# Characters of a fragment to feed at once and stay below 2 ms, whatever they are (ordinary code: 0.9 us each).
SLICE: Final = 1_000


def create_detector(language: str, python_version: tuple[int, int]) -> Detector:
    """The detector of a language, for one block of code. ``python_version`` is the sandbox's."""
    if language == "python":
        return PromptedDetector(PythonDetector(python_version))
    if language == "bash":
        return BashDetector()
    raise ValueError(f"no detector for {language!r}")
