"""What the model is told between two turns: its own answer, and what its code did (PROTOCOL.md 1.5).

After an early interruption its answer is told as far as it counted: the calls up to the one that failed, and of that
one the code up to the failing statement. What was generated behind it was neither run nor kept, so the model goes on
from there instead of starting over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from app.events import ChatMessage, FileChange
from app.extraction.names import canonical_tool, runs_here
from app.pipeline.block import Block
from app.pipeline.generation import Generation
from app.render.inline import one_line, size

#: Changed files that are named.
_FILES: Final = 30


def follow_up(generation: Generation, *, stopped: bool, code_keys: Mapping[str, str]) -> list[ChatMessage]:
    """The messages to append: the assistant's turn, one ``tool`` message per call of ours, and one ``user`` message
    for code that stood in the content, which has no call to answer. ``code_keys`` as in ``run.Options``."""
    message = generation.reader.assistant_message()
    blocks: Sequence[Block] = [block for block in generation.blocks.values() if not block.turned_foreign]
    if stopped:
        blocks = _up_to_failure(blocks)
        message = _cut(message, blocks, code_keys)
    messages = [message] if message.get("content") or message.get("tool_calls") else []
    written = []
    for block in blocks:
        if block.source == "tool":
            messages.append({"role": "tool", "tool_call_id": block.call_id, "content": report(block)})
        else:
            written.append(report(block))
    if written and not generation.foreign_calls:  # a client's call must be answered by the client, not be talked over
        messages.append({"role": "user", "content": "Output of your code:\n" + "\n".join(written)})
    return messages


def _up_to_failure(blocks: Sequence[Block]) -> Sequence[Block]:
    """Without those of which nothing was run because of the failure. Blocks before it may have failed as well, where
    errors do not stop the answer but a time limit does."""
    tried = [at for at, block in enumerate(blocks) if block.has_run or block.status != "interrupted"]
    return blocks[: tried[-1] + 1] if tried else []


def _cut(message: ChatMessage, blocks: Sequence[Block], code_keys: Mapping[str, str]) -> ChatMessage:
    """The turn without what came after the failing statement, which is in the last of ``blocks``: calls of the client's
    too, which has not seen any."""
    message = dict(message)
    calls = {call["id"]: call for call in message.pop("tool_calls", ())}
    kept = [calls[block.call_id] for block in blocks if block.call_id in calls]
    if not blocks:  # what failed is a call that has turned foreign
        return message
    last = blocks[-1]
    code = last.attempted
    if last.source == "tool":
        function = kept[-1]["function"]
        arguments = {code_keys.get(canonical_tool(function["name"]), "code"): code}
        if last.language != "python":
            arguments["language"] = last.language
        kept[-1] = {**kept[-1], "function": {**function, "arguments": json.dumps(arguments, ensure_ascii=False)}}
    elif content := message["content"]:
        end = content.rfind(code)  # not found where the code stands indented: then it stays as it came
        message["content"] = content if end < 0 else content[: end + len(code)]
    if kept:
        message["tool_calls"] = kept
    return message


def report(block: Block) -> str:
    """What one block did, for the model. Never empty: some upstreams refuse empty content."""
    notes = _notes(block)
    said = str(block.transcript) or ("" if notes else "(no output)")
    return said + "".join(f"\n[{note}]" for note in (*notes, *_file_notes(block.files or ())))


def _file_notes(changes: Sequence[FileChange]) -> list[str]:
    """What it did to the files of the work folder, by name and size."""
    if not changes:
        return []
    told = [
        f"{change.change} {one_line(change.path)}{'' if change.bytes is None else f' ({size(change.bytes)})'}"
        for change in changes[:_FILES]
    ]
    if len(changes) > _FILES:
        told.append(f"and {len(changes) - _FILES} more")
    return [f"Files: {', '.join(told)}"]


def _notes(block: Block) -> list[str]:
    """What the output does not say: what ran and what did not, and in what state that left the interpreter."""
    if block.beyond_limit:
        return ["Not run: no more calls are left. Answer with what is known."]
    if block.refused is not None:
        return [_refusal(block)]
    if block.rolled_back:
        return [
            "The code failed as a whole, and whatever of it ran was undone: variables and files are as they were "
            "before. Correct it and send all of it again."
        ]
    if block.status == "incomplete":
        return ["The code was cut off; its unfinished last statement was not run."]
    if block.status == "interrupted" and not block.ran and not str(block.transcript):
        return ["Not run: the code before it had failed."]
    if block.status == "ok":
        return [] if block.code.strip() else ["There was no code in the call."]
    notes = []
    if block.status == "timeout":
        notes.append("The time limit was reached; the code was stopped.")
    elif block.status == "interrupted":
        notes.append("The code was interrupted.")
    if not block.is_whole_program:
        notes.append(_progress(block.ran))
    if block.state_lost:
        notes.append("The interpreter was restarted: all variables and imports are gone.")
    elif block.ran:
        notes.append(
            "The effects of what ran are still there (variables, imports, files): "
            "go on from this point, and do not run those statements again."
        )
    return notes


def _refusal(block: Block) -> str:
    if runs_here(block.refused or ""):
        note = "The language was named behind the code. Send all of the code again, with the language before it."
    else:
        note = f"Not run: only Python and bash run here, not {block.refused!r:.40}. Write it in Python."
    if block.has_run and not block.rolled_back:
        note += f" Its beginning was run as {block.language}."
    return note


def _progress(ran: int) -> str:
    if not ran:
        return "The first statement failed, and nothing after it was run."
    statements = "1 statement" if ran == 1 else f"{ran} statements"
    return f"{statements} ran to the end. The next one failed, and nothing after it was run."
