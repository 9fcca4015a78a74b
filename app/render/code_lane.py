"""The order of code and of what it says, for one piece of code that is still being written.

``CodeFirst`` shows all of the code in one fence, as it is written, and what it says below. ``Interleaved`` stops the
code behind the statement that runs, so that what it says stands right behind it, and goes on in a new fence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from app.render.fenced import FencedText

#: Writes something that the code said; called when its place has come.
WriteText = Callable[[], str]


class CodeLane(Protocol):
    """Every method returns Markdown to append."""

    def place(self) -> str:
        """The place of what it says has come in the text."""
        ...

    def code(self, text: str) -> str:
        """More of the code."""
        ...

    def statement(self, number: int, end: int, *, waits: bool) -> str:
        """A statement is complete; it ends at this character of the code. It ``waits`` if it does not run by itself."""
        ...

    def begin(self, numbers: Sequence[int]) -> str:
        """Statements run now."""
        ...

    def say(self, write: WriteText) -> str:
        """They have said something."""
        ...

    def end(self, write: WriteText) -> str:
        """They are done; ``write`` ends what they said."""
        ...

    def written(self) -> str:
        """All of the code has been written; some of it may still run."""
        ...

    def rest(self) -> str:
        """The code is over: what was not shown of it."""
        ...


class CodeFirst:
    """All of the code, and then what it says."""

    def __init__(self, language: str) -> None:
        self._fence = FencedText(language)
        self._begun = self._written = False
        self._said: list[str] = []

    def place(self) -> str:
        return ""

    def __repr__(self) -> str:
        return f"<CodeFirst written={self._written}>"

    def code(self, text: str) -> str:
        begin = "" if self._begun else f"\n\n{self._fence.open()}"
        self._begun = True
        return begin + self._fence.feed(text)

    def statement(self, number: int, end: int, *, waits: bool) -> str:
        return ""

    def begin(self, numbers: Sequence[int]) -> str:
        return ""

    def say(self, write: WriteText) -> str:
        if self._written:
            return write()
        self._said.append(write())
        return ""

    def end(self, write: WriteText) -> str:
        return ""

    def written(self) -> str:
        if self._written:
            return ""
        self._written = True
        said, self._said = "".join(self._said), []
        return (self._fence.close() if self._begun else "") + said

    def rest(self) -> str:
        return self.written()


class CodeInWords:
    """The code stands in the model's own text: nothing but what it says, and that when its place has come."""

    def __init__(self) -> None:
        self._waiting: list[str] | None = []

    def __repr__(self) -> str:
        return f"<CodeInWords waiting={self._waiting is not None}>"

    def place(self) -> str:
        waiting, self._waiting = self._waiting, None
        return "".join(waiting or ())

    def code(self, text: str) -> str:
        return ""

    def statement(self, number: int, end: int, *, waits: bool) -> str:
        return ""

    def begin(self, numbers: Sequence[int]) -> str:
        return ""

    def say(self, write: WriteText) -> str:
        if self._waiting is None:
            return write()
        self._waiting.append(write())
        return ""

    def end(self, write: WriteText) -> str:
        return ""

    def written(self) -> str:
        return ""

    def rest(self) -> str:
        return ""


class Interleaved:
    """Each statement, and then what it says."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._fence: FencedText | None = None
        self._continues = False
        #: Code that is not shown yet, and how many characters of it are.
        self._held: list[str] = []
        self._shown = self._received = 0
        #: Ends of the statements that have been written and are not done.
        self._ends: dict[int, int] = {}
        self._running: list[int] = []

    def place(self) -> str:
        return ""

    def __repr__(self) -> str:
        return f"<Interleaved shown={self._shown} of {self._received}, not done: {list(self._ends)}>"

    def code(self, text: str) -> str:
        """The latest fragment is held until it is known whether a statement ends in it."""
        written = self._show(self._limit(self._received))
        self._held.append(text)
        self._received += len(text)
        return written

    def statement(self, number: int, end: int, *, waits: bool) -> str:
        if not waits:
            self._ends[number] = end
        return self._show(self._limit(self._received))

    def begin(self, numbers: Sequence[int]) -> str:
        self._running = [number for number in numbers if number in self._ends]
        end = max((self._ends[number] for number in self._running), default=0)
        return self._show(end)

    def say(self, write: WriteText) -> str:
        return self._pause() + write()

    def end(self, write: WriteText) -> str:
        for number in self._running:
            del self._ends[number]
        self._running = []
        return write() + self._show(self._limit(self._received))

    def written(self) -> str:
        return self._show(self._limit(self._received))

    def rest(self) -> str:
        self._ends.clear()
        return self._show(self._received) + self._pause()

    def _limit(self, end: int) -> int:
        return min(self._ends.values(), default=end)

    def _show(self, end: int) -> str:
        if end <= self._shown or not self._held:
            return ""
        held = "".join(self._held)
        count = end - self._shown
        text, rest = held[:count], held[count:]
        self._held = [rest] if rest else []
        self._shown = end
        if self._fence is None:
            text = text.lstrip("\r\n") if self._continues else text
            if not text.strip():  # empty lines between two statements open no fence
                self._held.insert(0, text)
                self._shown -= len(text)
                return ""
            self._fence = FencedText(self._language)
            return f"\n\n{self._fence.open()}{self._fence.feed(text)}"
        return self._fence.feed(text)

    def _pause(self) -> str:
        fence, self._fence = self._fence, None
        self._continues = True
        return "" if fence is None else fence.close()
