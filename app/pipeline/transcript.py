"""What the model is told about the code it wrote."""

from __future__ import annotations

from app.sandbox.worker.messages import Display, Failure, Output, Result

#: Characters of one block's output that are shown to a model; the middle of more is left out.
LIMIT_CHARS = 32_000


class Transcript:
    """Collects what a block said, as text, keeping its beginning and its end."""

    def __init__(self, limit_chars: int = LIMIT_CHARS) -> None:
        self._half = limit_chars // 2
        self._head: list[str] = []
        self._head_chars = 0
        self._tail = ""
        self._omitted = 0

    def add(self, said: Output | Display | Result) -> None:
        match said:
            case Output(text=text):
                self._append(text)
            case Display(data=data) | Result(data=data):
                images = [mime for mime in data if mime.startswith("image/")]
                plain = data.get("text/plain")
                self._append(f"{plain}\n" if isinstance(plain, str) else "".join(f"[{mime}]\n" for mime in images))

    def fail(self, failure: Failure) -> None:
        self._append(failure.traceback or f"{failure.ename}: {failure.evalue}\n")

    def note(self, text: str) -> None:
        self._append(text)

    def _append(self, text: str) -> None:
        room = self._half - self._head_chars
        if room > 0:
            self._head.append(text[:room])
            self._head_chars += len(self._head[-1])
            text = text[room:]
        if text:
            kept = (self._tail + text)[-self._half :]
            self._omitted += len(self._tail) + len(text) - len(kept)
            self._tail = kept

    def __str__(self) -> str:
        gap = f"\n[... {self._omitted} characters left out ...]\n" if self._omitted else ""
        return "".join(self._head) + gap + self._tail
