"""What a sandbox has said and the sink has not taken yet."""

from __future__ import annotations

import codecs
from typing import Final, Literal

from app.sandbox.worker.mailbox import Mailbox
from app.sandbox.worker.messages import Display, Output, Result
from sandbox_image.protocol import STDERR, STDOUT

#: Reading stops when this much waits for the sink. A few reads of asyncio (256 KiB), so that a fast sink never waits.
HIGH_WATER: Final = 1024 * 1024
LOW_WATER: Final = 256 * 1024
_STREAM: Final[dict[int, Literal["stdout", "stderr"]]] = {STDOUT: "stdout", STDERR: "stderr"}


class Outbox(Mailbox[Output | Display | Result | None]):
    """Messages in order; None ends what belongs to one execution. Bytes become text here, across frames."""

    def __init__(self) -> None:
        super().__init__()
        utf8 = codecs.getincrementaldecoder("utf-8")
        self._decoders = {STDOUT: utf8("replace"), STDERR: utf8("replace")}

    def put_output(self, kind: int, data: bytes) -> None:
        if text := self._decoders[kind].decode(data):
            self.put_nowait(Output(_STREAM[kind], text), len(data))

    def flush(self) -> None:
        """Nothing continues what was written: a character that was cut off becomes U+FFFD."""
        for kind, decoder in self._decoders.items():
            if text := decoder.decode(b"", final=True):
                self.put_nowait(Output(_STREAM[kind], text), len(text))
