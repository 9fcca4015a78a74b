"""The conversation that chat front ends are driven through, and what the scripted model says in it (pure).

A question is answered in turns: words, and code behind them. A turn is chosen by how many pieces of code have been
answered since the question, as a model would.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

#: How a conversation is told the output of code that stood in the model's words.
IN_WORDS = "Output of your code:"
TITLE = "Three months of sales"


@dataclass(frozen=True)
class Turn:
    words: str
    code: str = ""


FIRST = "How did the three months of sales go? Show a table and a plot, and save a file."
SECOND = "What is the mean of a month?"
LONG = "Count up slowly."
THIRD = "And what was the total again?"

_SALES = """\
import pandas as pd
import matplotlib.pyplot as plt

sales = pd.DataFrame({"month": ["Jan", "Feb", "Mar"], "sold": [12, 30, 21]})
print("months:", len(sales))

display(sales)

plt.bar(sales["month"], sales["sold"])
plt.title("Sold in each month")
plt.show()

sales.to_csv("sales.csv", index=False)
total = int(sales["sold"].sum())
print("total:", total)
"""
_FAILING = """\
mean = sales["revenue"].mean()
print("mean:", mean)
spread = sales["revenue"].max() - sales["revenue"].min()
print("between the best and the worst month there are", spread)
print("and this is", spread / mean, "of the mean")
"""
_COUNT = """\
import time
for second in range(600):
    print("second", second, flush=True)
    time.sleep(0.5)
"""

ANSWERS: dict[str, tuple[Turn, ...]] = {
    FIRST: (
        Turn("Let me look at the numbers.", _SALES),
        Turn("February was the best month, with **30** sold. The table is in `sales.csv`."),
    ),
    SECOND: (
        Turn("I take the column of the table.", _FAILING),
        Turn("The column has another name.", 'mean = sales["sold"].mean()\nprint("mean:", mean)\n'),
        Turn("On average, 21 were sold in a month."),
    ),
    LONG: (Turn("I count, half a second for each number.", _COUNT), Turn("I have counted.")),
    THIRD: (Turn("It is still there.", 'print("the total is", total)\n'), Turn("The total was 63.")),
}


def check_known(messages: list[dict[str, Any]]) -> None:
    """
    Raises:
        AssertionError: this is not the conversation as the model has had it: its own words, calls and results.
    """
    told = json.dumps(messages)
    assert "eager:" not in told, "a marker"
    left: list[Turn] = []
    question = ""
    for message in messages:
        if _is_question(message):
            assert not left or question == LONG, f"{question!r} is not answered to its end: {left}"
            question = text_of(message)
            left = list(ANSWERS.get(question, ()))
        elif message["role"] == "assistant" and question != LONG:  # which was stopped
            _check_said(message, left.pop(0))


def _check_said(message: dict[str, Any], turn: Turn) -> None:
    words, code = text_of(message).strip(), ""
    if calls := message.get("tool_calls"):
        code = json.loads(calls[0]["function"]["arguments"])["code"]
    elif turn.code:
        words, _, code = words.partition("\n\n```python\n")
        code = code.removesuffix("```")
    assert words == turn.words, words
    assert "/v1/shared/" not in text_of(message), "a link that the model did not write"
    # Of code that has failed the model knows what it had written by then.
    assert turn.code.startswith(code), code
    assert bool(code) == bool(turn.code)


def turn_for(body: dict[str, Any]) -> Turn:
    """What the model says to a request."""
    messages = body["messages"]
    asked = max((place for place, message in enumerate(messages) if _is_question(message)), default=-1)
    question = text_of(messages[asked]) if asked >= 0 else ""
    if question not in ANSWERS:
        return Turn(_task(question))
    answered = [message for message in messages[asked + 1 :] if message["role"] == "tool" or _is_output(message)]
    turns = ANSWERS[question]
    return turns[min(len(answered), len(turns) - 1)]


def text_of(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def _task(prompt: str) -> str:
    """What front ends ask a model about a conversation: each wants JSON of its own, and a title is made of what was
    said, as far as it can be read in the prompt."""
    title = TITLE if re.search(r"three months of sales", prompt) else "Nothing was said"
    if '"tags"' in prompt:
        return json.dumps({"tags": ["Sales"]})
    if '"follow_ups"' in prompt:
        return json.dumps({"follow_ups": ["Which month was the worst?"]})
    return json.dumps({"title": title}) if '"title"' in prompt else title


def _is_question(message: dict[str, Any]) -> bool:
    return message["role"] == "user" and not _is_output(message)


def _is_output(message: dict[str, Any]) -> bool:
    return message["role"] == "user" and text_of(message).startswith(IN_WORDS)
