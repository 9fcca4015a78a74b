"""What the model is told of what programs print, show and write, as text: in eager and serial runs, over the backends
that have the libraries. One sandbox of each serves all programs."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import pytest_asyncio

from app.events import Event, ExecError, ExecResult
from app.pipeline.place import AtHand
from app.pipeline.run import RunOptions, run
from app.sandbox.backend import Backend
from app.sandbox.docker.backend import DockerBackend
from app.sandbox.jupyter.backend import JupyterBackend
from app.sandbox.jupyter.local_kernels import LocalKernels
from app.sandbox.local.backend import LocalBackend
from app.sandbox.local.environment import inspect_python
from app.sandbox.worker.worker import Worker
from tests.backends import SANDBOX_ENV, SANDBOX_IMAGE, require_backend

pytestmark = pytest.mark.asyncio(loop_scope="module")
Mode = Literal["eager", "serial"]
#: Characters of code in one piece of the upstream's answer.
PIECE_CHARS = 9


@dataclass(frozen=True)
class Row:
    """``pictures``: how many a client gets. ``told``: what the model gets, with the paths of programs left out."""

    code: str
    told: str
    pictures: int = 0


FIGURE = "<Figure size 640x480 with 1 Axes>\n"
PLT = "import matplotlib.pyplot as plt\n"
ROWS = {
    "A1 a loop of figures": Row(
        "import matplotlib.pyplot as plt\nfor i in range(5): plt.figure(); plt.plot([i, 1]); plt.show()\n",
        FIGURE * 5,
        5,
    ),
    "A2 histograms": Row(
        PLT + "for d in ([1, 2, 2], [5, 6, 6]): plt.hist(d); plt.title(str(d)); plt.show()\n",
        FIGURE * 2,
        2,
    ),
    "A4 a name of other bytes": Row(
        "n = open(b'bad\\xff.txt', 'w').write('3')\n", "(no output)\n[Files: created bad\\xff.txt (1 bytes)]"
    ),
    "A4 and the next file": Row("n = open('c.txt', 'w').write('1')\n", "(no output)\n[Files: created c.txt (1 bytes)]"),
    "changed and deleted": Row(
        "import os\nn = open('c.txt', 'w').write('12')\nos.remove(b'bad\\xff.txt')\n",
        "(no output)\n[Files: deleted bad\\xff.txt, changed c.txt (2 bytes)]",
    ),
    "A5 one picture": Row(
        "from PIL import Image\nImage.new('RGB', (5, 5), 'red')\n", "<PIL.Image.Image image mode=RGB size=5x5>\n", 1
    ),
    "A5 shown by its method": Row(
        "from PIL import Image\nImage.new('RGB', (5, 5), 'red').show()\n",
        "<PIL.Image.Image image mode=RGB size=5x5>\n",
        1,
    ),
    "A6 plotly": Row(
        "import plotly.express as px\npx.bar(x=['a'], y=[1], title='T').show()\n",
        "[plotly chart 'T', shown where plotly's JSON can be drawn]\n"
        "- bar: x: 1 values, y: 1 values\naxes: x: x, y: y\n",
    ),
    "A6 Markdown": Row("from IPython.display import Markdown\nMarkdown('# T\\n*x*')\n", "# T\n*x*\n"),
    "A6 HTML": Row("from IPython.display import HTML, display\ndisplay(HTML('<h1>T</h1>a <b>b</b>'))\n", "T\na b\n"),
    "A6 a Styler": Row("import pandas as pd\npd.DataFrame({'a': [1]}).style\n", "|  | a |\n| --- | --- |\n| 0 | 1 |\n"),
    "a table": Row("import pandas as pd\npd.DataFrame({'a': [1]})\n", "   a\n0  1\n"),
    "A8 a progress bar": Row("for i in range(100): print(f'\\rprogress {i}%', end='')\n", "progress 99%"),
    "A8 colours": Row("print('\\x1b[31mred\\x1b[0m')\n", "red\n"),
    "A8 cleared": Row(
        "from IPython.display import clear_output\nfor i in range(3): clear_output(wait=True); print('step', i)\n",
        "step 2\n",
    ),
    "A9 24 columns": Row(
        "import pandas as pd\ntext = str(pd.DataFrame({f'column_{i}': [i] for i in range(24)}))\n"
        "print(all(f'column_{i} ' in text + ' ' for i in range(24)), max(map(len, text.split('\\n'))) <= 120)\n",
        "True True\n",
    ),
    "A12 an exit with a message": Row(
        "import sys\nx = 1\nsys.exit('bad input')\n",
        "bad input\nSystemExit in line 3: bad input\n",
    ),
    "A14 beside the program": Row(
        "import os\nhere = os.path.dirname(os.path.abspath(__file__))\n"
        "n = open(os.path.join(here, 'o.csv'), 'w').write('x')\n",
        "(no output)\n[Files: created o.csv (1 bytes)]",
    ),
    "a value that cannot be formatted": Row(
        "class A:\n    def __repr__(self): return 1 / 0\nA()\n",
        "<A object, whose repr() fails with ZeroDivisionError: division by zero>\n",
    ),
}


class Model:
    """Writes one piece of code, and keeps what it is told of it."""

    def __init__(self, code: str) -> None:
        self.told = ""
        self._code = code

    @asynccontextmanager
    async def stream(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[AsyncIterator[Sequence[str]]]:
        yield self._answer(body["messages"])

    async def _answer(self, messages: Sequence[Mapping[str, Any]]) -> AsyncIterator[Sequence[str]]:
        if messages[-1]["role"] == "tool":
            self.told = messages[-1]["content"]
            yield [_delta({"content": "Done."}, "stop")]
            return
        yield [_delta({"tool_calls": [{"index": 0, "id": "call", "function": {"name": "python", "arguments": ""}}]})]
        text = json.dumps({"code": self._code})
        for at in range(0, len(text), PIECE_CHARS):
            function = {"arguments": text[at : at + PIECE_CHARS]}
            yield [_delta({"tool_calls": [{"index": 0, "function": function}]})]
        yield [_delta({}, "tool_calls")]


def _delta(delta: dict[str, Any], finish: str | None = None) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("local", "docker", "jupyter")],
)
async def worker(request: pytest.FixtureRequest) -> AsyncIterator[Worker]:
    require_backend("local")
    require_backend(request.param)
    backend: Backend
    if request.param == "local":
        backend = LocalBackend(inspect_python(SANDBOX_ENV))
    elif request.param == "docker":
        backend = DockerBackend(image=SANDBOX_IMAGE)
    else:
        backend = JupyterBackend(LocalKernels("python3", environment=SANDBOX_ENV.parents[1]))
    try:
        worker = await backend.start()
        try:
            yield worker
        finally:
            await worker.close()
    finally:
        await backend.close()


async def told(worker: Worker, code: str, mode: Mode) -> tuple[str, list[Event]]:
    model, events = Model(code), []

    async def send(said: Event) -> None:
        events.append(said)

    await run(
        {"model": "m", "messages": [{"role": "user", "content": "Go."}]},
        RunOptions(mode=mode, on_error="repair", max_repairs=1, max_turns=2),
        request_id="req",
        upstream=model,
        place=AtHand(worker, ""),
        send=send,
    )
    return re.sub(r'"[^"]*/main(_\d+)?\.py"', '"main.py"', model.told), events


CLEAN = "import os\nfor name in os.listdir(os.fsencode('.')):\n    if os.path.isfile(name): os.remove(name)\n"


@pytest.mark.parametrize("mode", ["eager", "serial"])
async def test_the_model_and_the_client_are_told(worker: Worker, mode: Mode) -> None:
    await told(worker, CLEAN, mode)
    wrong = {}
    for name, row in ROWS.items():
        text, events = await told(worker, row.code, mode)
        pictures = sum(len(event.images) for event in events if isinstance(event, ExecResult))
        if name.startswith("A12"):  # what follows is how to go on, which differs between the modes
            text = text.partition("\n[")[0]
        if (text, pictures) != (row.told, row.pictures):
            wrong[name] = text, pictures
    assert wrong == {}


@pytest.mark.parametrize(
    ("code", "message", "line"),
    [
        ("x = 1\n  y = 2\n", "unexpected indent", 2),
        ("x = 1\ny = = 2\n", "invalid syntax", 2),
        ("def f():\nreturn 1\n", "expected an indented block after function definition on line 1", 2),
    ],
)
async def test_a_syntax_error_is_told_in_the_same_words_in_both_modes(
    worker: Worker, code: str, message: str, line: int
) -> None:
    for mode in ("eager", "serial"):
        text, events = await told(worker, code, mode)
        (error,) = [event for event in events if isinstance(event, ExecError)]
        assert (error.evalue, error.line) == (message, line)
        assert f'File "main.py", line {line}\n' in text
        assert text.partition("Error: ")[2].startswith(message)
