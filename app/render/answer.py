"""An answer as one Markdown text: the model's words, its code, and what the code said, in the order of the program.

What is added to the words stands between two markers (``markers.py``) and is remembered with its digest, so that it
can be taken out again (``way_back.py``). Words and code that come while a piece of code is on its way to its end wait
for that: they belong behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import msgspec

from app.events import (
    ChatMessage,
    ChunkDetected,
    CodeEnd,
    CodeStart,
    Done,
    Error,
    Event,
    ExecEnd,
    ExecError,
    ExecOutput,
    ExecResult,
    ExecStart,
    Interrupt,
    Rollback,
    SessionLost,
    Token,
    TurnEnd,
)
from app.render.code_blocks import CodeBlocks, Style
from app.render.content import CodePlace, Withheld, WordsPiece, WordsReader
from app.render.markers import marker, next_marker
from app.render.open_ends import closer
from app.render.said import Link
from app.render.way_back import AddedText, HiddenTurn, digest


@dataclass
class _ShownTurn:
    number: int
    reader: WordsReader
    id: str = ""
    said: list[str] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)
    added: list[AddedText] = field(default_factory=list)


@dataclass
class _ShownWords:
    """Words of the model, by lines, and what has been read of these. The last ones of a turn end it."""

    token: Token
    lines: deque[str]
    read: deque[WordsPiece] = field(default_factory=deque)
    is_last: bool = False


@dataclass
class _ShownCode:
    """A piece of code that is being shown. ``added`` is what was added about it; none before its place has come."""

    call_id: str
    turn: int
    blocks: CodeBlocks
    added: list[str] | None = None
    closer: str = ""
    ended: bool = False
    #: Nothing more is told about it: an ``interrupt`` comes right behind its end.
    may_close: bool = False


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
        #: Here is the place of code in the words, of which the end has not been told.
        self._waits_for: CodePlace | None = None
        #: Words and calls that wait for their turn, code in words that does, and what happens to such code.
        self._queue: deque[_ShownWords | CodeStart] = deque()
        self._in_words: deque[CodeStart] = deque()
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
            self._code.may_close = True
            self._go_on()
        match event:
            case Token(channel="content"):
                if self._passes(event):
                    return [event]
                self._queue.append(_ShownWords(event, deque(event.text.splitlines(keepends=True))))
                self._go_on()
                return self._take()
            case Token(channel="code", call_id=str(call_id)):
                self._happen(call_id, event, ())
            case CodeStart(source=source):
                self._early[event.call_id] = []
                (self._queue if source == "tool" else self._in_words).append(event)
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
            case ChunkDetected() | ExecStart() | ExecOutput() | ExecResult() | ExecError() | ExecEnd() | Rollback():
                self._happen(event.call_id, event, links)
        return [*self._take(), event]

    def hidden(self, turn: int, messages: Sequence[ChatMessage], session: str) -> tuple[str, HiddenTurn] | None:
        """What is to be remembered of a turn that is over, and its id; None if nothing was added in it."""
        made = next((made for made in self._turns if made.number == turn and made.id), None)
        if made is None:
            return None
        if self._code is not None and self._code.ended:
            self._code.may_close = True
            self._go_on()
        words, withheld = digest("".join(made.said)), "".join(made.withheld)
        added = list(made.added)
        return made.id, HiddenTurn(list(messages), added, words, session=session, withheld=withheld)

    # what comes

    def _go_on(self) -> None:
        """Show what waits, up to code that is not over yet."""
        while True:
            self._close_ended()
            if self._code is None and self._in_words and self._has_place(self._in_words[0]):
                self._start(self._in_words.popleft())
            elif not self._queue or self._is_held(self._queue[0]):
                break
            else:
                first = self._queue.popleft()
                self._start(first) if isinstance(first, CodeStart) else self._say(first)
        code = self._code
        if code is not None and not self._queue and (code.ended or code.turn <= self._turns_over):
            self._open(code)
            self._close_ended()

    def _passes(self, token: Token) -> bool:
        """Whether the words are shown as they are: nothing waits, and no code can be in them. Most are."""
        turn = self._turn
        if self._code or self._queue or self._gap or token.turn != turn.number or turn.reader.looks_for_code:
            return False
        turn.said.append(token.text)
        self._tail.append(token.text)
        self._is_empty = self._is_empty and not token.text
        return True

    def _has_place(self, start: CodeStart) -> bool:
        """A fence is shown as it comes, and what it says may wait. A tag is not shown: its code comes in its place."""
        if start.source == "fence" or self._waits_for is CodePlace.INSTEAD:
            return True
        return not self._queue and start.turn <= self._turns_over

    def _is_held(self, first: _ShownWords | CodeStart) -> bool:
        if isinstance(first, CodeStart):
            return self._code is not None
        return self._waits_for is not None or (self._code is not None and self._code.added is not None)

    def _say(self, words: _ShownWords) -> None:
        """Up to a place of code in them: what it says comes there, and what follows waits for that."""
        token, turn = words.token, self._turn
        if token.turn != turn.number:
            if words.is_last:  # there were none
                return
            self._begin_turn(token.turn)
            turn = self._turn
        said = self._read(words, turn)
        turn.said.append(said)
        self._tail.append(said)
        shown = self._gap + said if said else ""
        self._gap = "" if said else self._gap
        self._is_empty = self._is_empty and not shown
        if shown or not words.is_last:
            self._out.append(token if shown == token.text else msgspec.structs.replace(token, text=shown))
        if words.lines or words.read or (words.is_last and turn.reader.looks_for_code):
            words.token = msgspec.structs.replace(token, logprobs=msgspec.UNSET)
            self._queue.appendleft(words)
        if self._waits_for is not None and self._code is not None:
            self._open(self._code)

    def _read(self, words: _ShownWords, turn: _ShownTurn) -> str:
        """What is to be shown of them before the next place of code."""
        said: list[str] = []
        while self._waits_for is None:
            if not words.read:
                if words.lines:
                    words.read.extend(turn.reader.feed(words.lines.popleft()))
                elif words.is_last and turn.reader.looks_for_code:
                    words.read.extend(turn.reader.flush())
                else:
                    break
                continue
            match words.read.popleft():
                case CodePlace() as place:
                    self._waits_for = place
                case Withheld(text):
                    turn.withheld.append(text)
                case text:
                    said.append(text)
        return "".join(said)

    def _start(self, start: CodeStart) -> None:
        is_call, in_words = start.source == "tool", start.source == "fence"
        if start.turn != self._turn.number and is_call:
            self._begin_turn(start.turn)
        if is_call:
            self._stop_reading()
        code = _ShownCode(start.call_id, start.turn, CodeBlocks(self._style, start.language, in_words=in_words))
        self._code = code
        if not in_words or self._waits_for is not None:
            self._open(code)
        for event, links in self._early.pop(start.call_id):
            self._show(code, event, links)
        if start.turn <= self._turns_over:
            self._add(code.blocks.written())
        code.may_close = code.ended

    def _happen(self, call_id: str, event: Event, links: Sequence[Link]) -> None:
        code = self._code
        if code is not None and code.call_id == call_id:
            self._show(code, event, links)
            self._go_on()
        elif call_id in self._early:
            self._early[call_id].append((event, links))

    def _show(self, code: _ShownCode, event: Event, links: Sequence[Link]) -> None:
        self._add(code.blocks.feed(event, links))
        code.ended = code.ended or isinstance(event, CodeEnd)

    def _end_turn(self, event: TurnEnd) -> None:
        self._turns_over = event.turn
        if self._code is not None:
            self._add(self._code.blocks.written())
        elif not self._in_words:  # no code has begun there after all
            self._waits_for = None
        if self._turn.reader.looks_for_code or self._queue:
            self._queue.append(self._last_words(event.turn))
        self._go_on()

    def _finish(self) -> None:
        self._turns_over = self._turn.number + len(self._queue)
        while self._code is not None or self._queue or self._in_words:
            self._waits_for = None
            if self._code is not None:
                self._open(self._code)
                self._code.ended = self._code.may_close = True
            self._go_on()

    def _stop_reading(self) -> None:
        if self._turn.reader.looks_for_code:
            words = self._last_words(self._turn.number)
            words.read.extend(self._turn.reader.stop())
            self._say(words)

    def _last_words(self, turn: int) -> _ShownWords:
        return _ShownWords(Token(turn=turn, channel="content", text=""), deque(), is_last=True)

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
        if not text or self._code is None:
            return
        assert self._code.added is not None, "what is said before its place has come waits in the blocks"
        self._code.added.append(text)
        self._put(text)

    def _close_ended(self) -> None:
        code, turn = self._code, self._turn
        if code is None or not code.may_close or code.added is None:
            return
        self._add(code.blocks.close())
        turn.added.append(AddedText(digest("".join(code.added)), code.closer))
        self._append(marker(turn.id, len(turn.added) - 1, "out"))
        self._gap, self._tail = "\n\n", []
        self._code, self._waits_for = None, None

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
