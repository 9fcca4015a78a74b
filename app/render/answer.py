"""An answer as one Markdown text: the model's words, its code, and what the code said, in the order of the program.

What is added to the words stands between two markers (``markers.py``) and is remembered with its digest, so that it
can be taken out again (``way_back.py``). Words and code that come while a piece of code is on its way to its end wait
for that: they belong behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from app.events import CodeEnd, CodeStart, Done, Error, Event, Interrupt, SessionLost, Token, TurnEnd
from app.render.code_blocks import CodeBlocks, Style
from app.render.content import WordsReader
from app.render.markers import marker, next_marker
from app.render.open_ends import closer
from app.render.said import Link
from app.render.way_back import AddedText, HiddenTurn, Message, digest

#: Events of a piece of code have its ``call_id``; its text comes as tokens.
_CODE_EVENTS = frozenset({"ChunkDetected", "ExecStart", "ExecOutput", "ExecResult", "ExecError", "ExecEnd", "Rollback"})


@dataclass
class _ShownTurn:
    number: int
    words: WordsReader
    id: str = ""
    said: list[str] = field(default_factory=list)
    added: list[AddedText] = field(default_factory=list)


@dataclass
class _ShownCode:
    """A piece of code that is being shown. ``added`` is what was added about it; none before its place has come."""

    call_id: str
    blocks: CodeBlocks
    added: list[str] | None = None
    closer: str = ""
    ended: bool = False


class MarkdownAnswer:
    """``feed`` takes the events of one request and returns those that the client is sent: with more text in them.

    Args:
        new_id: makes ids of 12 characters that nobody can guess.
        sources, tools: where code is looked for, as in ``pipeline.run.Options``.
        repairs: whether the model goes on where its code fails.
    """

    def __init__(
        self,
        style: Style,
        *,
        new_id: Callable[[], str],
        sources: Collection[str],
        tools: Collection[str],
        repairs: bool,
    ) -> None:
        self._style: Style = style
        self._new_id = new_id
        self._sources = sources
        self._tools = tools
        self._repairs = repairs
        self._turns: list[_ShownTurn] = [self._new_turn(0)]
        self._turns_over = -1
        self._code: _ShownCode | None = None
        #: Code in the words has ended there, and its end has not been told.
        self._waits_for_end = False
        #: Words and code that wait for their turn, and what happens to such code.
        self._queue: deque[Token | CodeStart] = deque()
        self._early: dict[str, list[tuple[Event, Sequence[Link]]]] = {}
        self._out: list[Event] = []
        self._is_empty = True
        self._gap = ""
        #: Words since something was added.
        self._tail: list[str] = []

    def __repr__(self) -> str:
        return f"<MarkdownAnswer {self._style} turn={self._turn.number} code={self._code}>"

    @property
    def _turn(self) -> _ShownTurn:
        return self._turns[-1]

    def feed(self, event: Event, links: Sequence[Link] = ()) -> list[Event]:
        """``links`` lead to the images of a result, or to the files at the end of code."""
        if self._code is not None and self._code.ended and not isinstance(event, Interrupt):
            self._close()
        match event:
            case Token(channel="content"):
                self._queue.append(event)
                self._go_on()
                return self._take()
            case Token(channel="code", call_id=str(call_id)):
                self._happen(call_id, event, ())
            case CodeStart():
                self._queue.append(event)
                self._go_on()
            case CodeEnd(call_id=call_id):
                self._happen(call_id, event, links)
            case TurnEnd():
                self._end_turn(event)
            case Interrupt(reason=reason):
                if self._code is not None:
                    self._add(self._code.blocks.interrupted(reason, repairs=self._repairs))
            case SessionLost(reason=reason):
                if self._code is not None:
                    self._add(self._code.blocks.lost(reason))
            case Done() | Error():
                self._finish()
            case _ if type(event).__name__ in _CODE_EVENTS:
                self._happen(getattr(event, "call_id", ""), event, links)
        return [*self._take(), event]

    def hidden(self, turn: int, messages: Sequence[Message], session: str) -> tuple[str, HiddenTurn] | None:
        """What is to be remembered of a turn that is over, and its id; None if nothing was added in it."""
        made = next((made for made in self._turns if made.number == turn and made.id), None)
        if made is None:
            return None
        if self._code is not None and self._code.ended:
            self._close()
        words = digest("".join(made.said))
        return made.id, HiddenTurn(messages=list(messages), added=list(made.added), words=words, session=session)

    # what comes

    def _go_on(self) -> None:
        """Show what waits, up to code that is not over yet."""
        while self._queue:
            first = self._queue[0]
            if isinstance(first, CodeStart):
                if self._code is not None:
                    return
                self._queue.popleft()
                self._start(first)
            elif self._waits_for_end or (self._code is not None and self._code.added is not None):
                return
            else:
                self._queue.popleft()
                self._say(first)

    def _say(self, token: Token) -> None:
        if token.turn != self._turn.number:
            self._begin_turn(token.turn)
        first, *rest = self._turn.words.feed(token.text)
        self._say_piece(token, first, with_logprobs=True)
        if not rest:
            return
        # Code has ended in the words. What it says comes here, and what follows waits for that.
        for text in reversed(rest):
            if text:
                self._queue.appendleft(_piece(token, text))
        self._waits_for_end = True
        if self._code is not None:
            self._open(self._code)

    def _say_piece(self, token: Token, text: str, *, with_logprobs: bool) -> None:
        if not text and not self._gap and not with_logprobs:
            return
        self._turn.said.append(text)
        self._tail.append(text)
        shown, self._gap = self._gap + text, ""
        self._is_empty = self._is_empty and not shown
        self._out.append(token if shown == token.text else _piece(token, shown))

    def _start(self, start: CodeStart) -> None:
        if start.turn != self._turn.number:
            self._begin_turn(start.turn)
        code = _ShownCode(start.call_id, CodeBlocks(self._style, start.language, in_words=start.source != "tool"))
        self._code = code
        if start.source == "tool":
            self._turn.words.stop()
        if start.source == "tool" or self._waits_for_end:
            self._open(code)
        for event, links in self._early.pop(start.call_id, ()):
            self._show(code, event, links)
        if start.turn <= self._turns_over:
            self._end_writing(code)
        if code.ended:
            self._close()

    def _happen(self, call_id: str, event: Event, links: Sequence[Link]) -> None:
        code = self._code
        if code is not None and code.call_id == call_id:
            self._show(code, event, links)
        elif any(isinstance(waiting, CodeStart) and waiting.call_id == call_id for waiting in self._queue):
            self._early.setdefault(call_id, []).append((event, links))

    def _show(self, code: _ShownCode, event: Event, links: Sequence[Link]) -> None:
        if isinstance(event, CodeEnd):
            self._open(code)
            code.ended = True
        self._add(code.blocks.feed(event, links))

    def _end_turn(self, event: TurnEnd) -> None:
        self._turns_over = event.turn
        if self._code is not None:
            self._end_writing(self._code)
        elif self._waits_for_end:  # no code has begun there after all
            self._waits_for_end = False
            self._go_on()

    def _end_writing(self, code: _ShownCode) -> None:
        self._open(code)
        self._add(code.blocks.written())

    def _finish(self) -> None:
        while self._code is not None or self._queue:
            if self._code is not None:
                self._close()
            self._waits_for_end = False
            self._go_on()

    # what is added

    def _begin_turn(self, number: int) -> None:
        if self._turn.id:
            self._append(next_marker(self._turn.id))
        if not self._is_empty:
            self._gap = "\n\n"
        self._turns.append(self._new_turn(number))

    def _new_turn(self, number: int) -> _ShownTurn:
        return _ShownTurn(number, WordsReader(self._sources, self._tools))

    def _open(self, code: _ShownCode) -> None:
        """Its place has come."""
        if code.added is not None:
            return
        turn = self._turn
        turn.id = turn.id or self._new_id()
        code.closer = closer("".join(self._tail)) if self._tail else ""
        self._put(code.closer)
        self._append(marker(turn.id, len(turn.added), "in"))
        code.added = []
        self._add(code.blocks.take_waiting())

    def _add(self, text: str) -> None:
        if text and self._code is not None and self._code.added is not None:
            self._code.added.append(text)
            self._put(text)

    def _close(self) -> None:
        code, turn = self._code, self._turn
        assert code is not None, "there is code to close"
        self._open(code)
        self._add(code.blocks.close())
        assert code.added is not None
        turn.added.append(AddedText(digest("".join(code.added)), code.closer))
        self._append(marker(turn.id, len(turn.added) - 1, "out"))
        self._gap, self._tail = "\n\n", []
        self._code, self._waits_for_end = None, False
        self._go_on()

    def _append(self, marker: str) -> None:
        self._put(marker if self._is_empty else f"\n\n{marker}")

    def _put(self, text: str) -> None:
        if text:
            self._is_empty = False
            self._gap = ""
            self._out.append(Token(turn=self._turn.number, channel="content", text=text))

    def _take(self) -> list[Event]:
        out, self._out = self._out, []
        return out


def _piece(token: Token, text: str) -> Token:
    return Token(
        seq=token.seq, t_ms=token.t_ms, turn=token.turn, channel="content", text=text, key=token.key,
        logprobs=token.logprobs,
    )  # fmt: skip
