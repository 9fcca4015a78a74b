"""What the code of one call said, as ``outputs`` of a ``code_interpreter_call``: logs and images, in order."""

from __future__ import annotations

from typing import Any

from app.events import CodeEnd, ExecError, ExecOutput, ExecResult
from app.render.words import words

#: Characters of logs that one call may put into an answer, which is stored and resent.
LOGS_LIMIT = 1_000_000

#: Why code that was stopped has no traceback.
ENDINGS = {"timeout": "[The time limit was reached; the code was stopped.]\n", "interrupted": "[Interrupted.]\n"}


class Outputs:
    """As in a REPL: prints, then the value of the last expression; of an error the traceback."""

    def __init__(self) -> None:
        self._items: list[dict[str, str]] = []
        self._logs: list[str] = []
        self._room = LOGS_LIMIT
        self._failed = False

    def add(self, event: ExecOutput | ExecResult | ExecError | CodeEnd) -> None:
        match event:
            case ExecOutput(text=text):
                self._log(text)
            case ExecResult(images=[_, *_] as images):
                self._close_logs()
                self._items += [{"type": "image", "url": url} for url in images]
            case ExecResult(data=data):
                text = words(data)
                self._log(text if event.display else text.removesuffix("\n"))
            case ExecError(traceback=text, ename=ename, evalue=evalue):
                self._failed = True
                self._log(text or f"{ename}: {evalue}\n")
            case CodeEnd(status=status) if not self._failed:
                self._log(ENDINGS.get(status, ""))

    def items(self) -> list[dict[str, str]]:
        self._close_logs()
        return list(self._items)

    def _log(self, text: str) -> None:
        if self._room <= 0 or not text:
            return
        self._logs.append(text[: self._room])
        self._room -= len(text)
        if self._room <= 0:
            self._logs.append("\n[More output was left out.]\n")

    def _close_logs(self) -> None:
        if self._logs:
            self._items.append({"type": "logs", "logs": "".join(self._logs)})
            self._logs = []


def shown(item: dict[str, Any], *, outputs: bool, reasoning: bool) -> dict[str, Any]:
    """The item as those see it who did or did not ask to ``include`` outputs of code and ``encrypted_content``."""
    if item["type"] == "code_interpreter_call" and not outputs:
        return {**item, "outputs": None}
    if item["type"] == "reasoning" and not reasoning:
        return {name: value for name, value in item.items() if name != "encrypted_content"}
    return item
