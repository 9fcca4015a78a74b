"""Rich results with the real libraries."""

from __future__ import annotations

import base64
import re
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from tests.sandbox_image.zygote import Interpreter, Zygote

#: Which Vega-Lite it is depends on the altair of the set.
_VERSION = re.compile(r"(?<=vegalite)\.v\d+[.+](?=json)")
PNG = b"\x89PNG"


def dedent(code: str) -> str:
    return textwrap.dedent(code).lstrip("\n")


def test_open_figures_are_sent_at_the_end_of_the_block_and_closed(rich_session: Interpreter) -> None:
    turn = rich_session.run("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nfig = plt.figure()\nplt.title('two')\n")
    shown = turn.of("display")
    assert [sorted(message["data"]) for message in shown] == [["image/png", "text/plain"]] * 2
    assert base64.b64decode(shown[0]["data"]["image/png"]).startswith(PNG)
    assert turn.messages.index(turn.of("result")[0]) < turn.messages.index(shown[0])
    assert turn.stderr == ""
    assert rich_session.run("plt.get_fignums()\n").result == "[]"


def test_show_sends_figures_where_it_is_called(rich_session: Interpreter) -> None:
    code = dedent("""
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
        for i in range(2):
            plt.plot([1, i])
            plt.show()
            print(i, matplotlib.get_backend().lower())
    """)
    turn = rich_session.run(code)
    assert [kind for kind, _ in turn.log if kind != "done"] == ["display", "stdout"] * 2
    assert turn.stdout == "0 agg\n1 agg\n"
    assert turn.stderr == ""


def test_a_figure_shown_by_name_is_not_sent_twice(rich_session: Interpreter) -> None:
    code = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nfig\n"
    turn = rich_session.run(code)
    [result] = turn.of("result")
    assert base64.b64decode(result["data"]["image/png"]).startswith(PNG)
    assert turn.of("display") == []


def test_a_canvas_that_writes_png_itself_is_asked_for_nothing_it_does_not_know(rich_session: Interpreter) -> None:
    code = dedent("""
        import matplotlib.pyplot as plt
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        class Canvas(FigureCanvasAgg):
            def print_png(self, file, *, facecolor=None, edgecolor=None, orientation=None, bbox_inches_restore=None):
                super().print_png(file)
        canvas = Canvas(plt.figure())
        plt.title("one")
        plt.show()
    """)
    turn = rich_session.run(code)
    assert turn.error is None
    assert [sorted(message["data"]) for message in turn.of("display")] == [["image/png", "text/plain"]]


def test_plotly_shows_without_a_browser(rich_session: Interpreter) -> None:
    turn = rich_session.run("import plotly.express as px\npx.bar(x=[1], y=[2]).show()\n")
    assert turn.error is None, turn.error
    [shown] = turn.of("display")
    assert "application/vnd.plotly.v1+json" in shown["data"]


def test_matplotlib_imported_by_the_program_is_watched_too(rich_zygote: Zygote, tmp_path: Path) -> None:
    cold = Zygote(rich_zygote.python)
    with closing(cold), closing(cold.start(tmp_path)) as session:
        turn = session.run(
            "import sys\nimport matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()\nprint(sys.meta_path[0])\n",
            whole=True,
        )
    assert len(turn.of("display")) == 1
    assert "ImportWatch" in turn.stdout  # still waits for others


def test_figures_are_shown_when_the_program_fails(rich_session: Interpreter) -> None:
    turn = rich_session.run("import matplotlib.pyplot as plt\nplt.plot([1])\n1 / 0\n", whole=True)
    assert len(turn.of("display")) == 1
    assert turn.done["status"] == "error"


def test_a_figure_that_cannot_be_drawn_is_told(rich_session: Interpreter) -> None:
    turn = rich_session.run("import matplotlib.pyplot as plt\nplt.title('$\\\\nosuch{$')\nplt.plot([1])\n", whole=True)
    assert turn.done["status"] == "ok"
    [shown] = turn.of("display")
    assert "ValueError" in shown["data"]["text/plain"]
    assert "sandbox_image" not in shown["data"]["text/plain"].split("\n")[1]
    assert rich_session.run("plt.get_fignums()\n").result == "[]"


@pytest.mark.parametrize(
    ("code", "mimes"),
    [
        ("import pandas as pd\npd.DataFrame({'a': [1, 2]})\n", {"text/plain", "text/html"}),
        ("from PIL import Image\nImage.new('RGB', (4, 4))\n", {"text/plain", "image/png"}),
        ("import sympy\nsympy.Symbol('x') ** 2\n", {"text/plain", "text/latex"}),
        ("from IPython.display import SVG\nSVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')\n", {"image/svg+xml"}),
        ("from IPython.display import Markdown\nMarkdown('# x')\n", {"text/markdown"}),
        ("from IPython.display import HTML\nHTML('<b>')\n", {"text/html"}),
        ("import altair as alt\nalt.Chart({'values': [{'a': 1}]}).mark_bar()\n", {"application/vnd.vegalite.json"}),
        (
            "import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[1, float('nan')]))\n",
            {"text/plain", "application/vnd.plotly.v1+json"},
        ),
    ],
    ids=["pandas", "pillow", "sympy", "svg", "markdown", "html", "altair", "plotly"],
)
@pytest.mark.parametrize("how", ["result", "display"])
def test_libraries_show_their_objects(code: str, mimes: set[str], how: str, rich_session: Interpreter) -> None:
    if how == "display":
        *before, last = code.rstrip("\n").split("\n")
        code = "\n".join([*before, f"display({last})"]) + "\n"
    turn = rich_session.run(code)
    assert turn.error is None, turn.error
    [shown] = turn.of(how)
    assert mimes <= {_VERSION.sub(".", mime) for mime in shown["data"]}


def test_ipython_s_display_functions_are_ours(rich_session: Interpreter) -> None:
    code = dedent("""
        from IPython.display import display, HTML, Image, clear_output
        import IPython.display as d
        display(HTML("<b>"), 3)
        d.display({"text/plain": "raw"}, raw=True)
        d.publish_display_data({"x/y": {"a": 1}})
        h = d.display(1, display_id="q")
        d.update_display(2, display_id="q")
    """)
    turn = rich_session.run(code)
    assert turn.error is None, turn.error
    assert turn.stdout == ""
    shown = [message["data"] for message in turn.of("display")]
    assert shown[0]["text/html"] == "<b>"
    assert [data.get("text/plain") for data in shown[1:]] == ["3", "raw", None, "1", "2"]
    assert shown[3] == {"x/y": {"a": 1}}
