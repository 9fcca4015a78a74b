"""What the model is told between two turns: its own answer, and what its code did."""

from __future__ import annotations

from typing import Any

from app.pipeline.block import Block
from app.pipeline.generation import Generation

Message = dict[str, Any]


def follow_up(generation: Generation) -> list[Message]:
    """The messages to append: the assistant's turn, one ``tool`` message per call of ours (PROTOCOL.md 1.5), and one
    ``user`` message for code that stood in the content, which has no call to answer."""
    messages: list[Message] = [generation.reader.assistant_message()]
    written = []
    for block in generation.blocks.values():
        if block.source == "tool":
            messages.append({"role": "tool", "tool_call_id": block.call_id, "content": report(block)})
        else:
            written.append(report(block))
    if written:
        messages.append({"role": "user", "content": "Output of your code:\n" + "\n".join(written)})
    return messages


def report(block: Block) -> str:
    """What one block did, for the model. Never empty: some upstreams refuse empty content."""
    text = str(block.transcript) or "(no output)"
    if block.status == "incomplete":
        text += "\n[The code was cut off; its unfinished last statement was not run.]"
    elif block.status == "timeout":
        text += "\n[The time limit was reached; the code was stopped.]"
    return text
