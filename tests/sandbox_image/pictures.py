"""Programs with figures, and what each of their pictures has to hold: found by colours, for every one that a program
draws is a colour of its own."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from tests.sandbox_image.zygote import Interpreter, Turn

COLOURS = {"r": (255, 0, 0), "g": (0, 128, 0), "b": (0, 0, 255)}
HEAD = "import warnings\nimport matplotlib\nimport matplotlib.pyplot as plt\n"
#: Told by the program itself: how many figures are open there.
OPEN = "print(len(plt.get_fignums()))\n"

#: Runs in the sandbox, whose libraries can read pictures: which of the colours each holds.
_LOOK = """
import base64, io
import numpy as np
from PIL import Image
def colours(picture):
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")).reshape(-1, 3)
    return "".join(name for name, colour in {colours}.items() if (pixels == colour).all(axis=1).sum() > 20)
print(*[colours(picture) or "-" for picture in {pictures}])
"""


@dataclass(frozen=True)
class Drawn:
    """``pictures``: the colours of each, in order. ``open``: what ``OPEN`` prints, one number each time."""

    code: str
    pictures: str
    open: str = ""


PROGRAMS = {
    "a loop": Drawn(
        f"for c in 'rgb':\n    plt.figure()\n    plt.plot([1, 2], c)\n    plt.show()\n{OPEN}", "r g b", "0"
    ),
    "a loop without figure()": Drawn(
        "for c in 'rgb':\n    plt.bar([1, 2], [1, 2], color=c)\n    plt.show()\n", "r g b"
    ),
    "histograms": Drawn(
        "for c, d in zip('rg', ([1, 2, 2], [5, 6, 6])):\n    plt.hist(d, color=c)\n    plt.title(str(d))\n"
        "    plt.show()\n",
        "r g",
    ),
    "in a function": Drawn(
        "def draw(c):\n    fig, ax = plt.subplots()\n    ax.plot([1, 2], c)\n    plt.show()\ndraw('r')\ndraw('b')\n"
        + OPEN,
        "r b",
        "0",
    ),
    "without blocking": Drawn(
        "plt.plot([1, 2], 'r')\nplt.show(block=False)\nplt.plot([2, 1], 'g')\nplt.show()\n", "r g"
    ),
    "pauses": Drawn("for c in 'rg':\n    plt.plot([1, 2], c)\n    plt.pause(0.001)\n" + OPEN, "r g", "0"),
    "left open": Drawn("for c in 'rgb':\n    plt.figure()\n    plt.plot([1, 2], c)\n" + OPEN, "r g b", "3"),
    "shown together": Drawn(
        f"for c in 'rg':\n    plt.figure()\n    plt.plot([1, 2], c)\nplt.show()\n{OPEN}", "r g", "0"
    ),
    "closed": Drawn("plt.plot([1, 2], 'r')\nplt.close()\nplt.plot([1, 2], 'g')\n", "g"),
    "its own show": Drawn("fig, ax = plt.subplots()\nax.plot([1, 2], 'r')\nfig.show()\n" + OPEN, "r", "1"),
    "its own show, then plt's": Drawn(
        "fig, ax = plt.subplots()\nax.plot([1, 2], 'r')\nfig.show()\nplt.show()\n" + OPEN, "r", "0"
    ),
    "its own show, then more": Drawn(
        "fig, ax = plt.subplots()\nax.plot([1, 2], 'r')\nfig.show()\nax.plot([2, 1], 'g')\n", "r rg"
    ),
    "shown by name, then more": Drawn(
        "fig, ax = plt.subplots()\nax.plot([1, 2], 'r')\ndisplay(fig)\nax.plot([2, 1], 'g')\nplt.show()\n", "r rg"
    ),
    "subplots": Drawn(
        "fig, (a, b) = plt.subplots(1, 2)\na.plot([1, 2], 'r')\nb.plot([1, 2], 'b')\nplt.tight_layout()\nplt.show()\n",
        "rb",
    ),
    "a choice of Agg": Drawn("matplotlib.use('Agg')\nplt.plot([1, 2], 'r')\nplt.show()\n" + OPEN, "r", "0"),
    "a switch to Agg": Drawn(
        "plt.plot([1, 2], 'r')\nplt.show()\nplt.switch_backend('agg')\nplt.plot([1, 2], 'g')\nplt.show()\n" + OPEN,
        "r g",
        "0",
    ),
    "a canvas of its own": Drawn(
        "from matplotlib.backends.backend_agg import FigureCanvasAgg\nplt.plot([1, 2], 'r')\n"
        "FigureCanvasAgg(plt.gcf())\nplt.show()\n",
        "r",
    ),
    "saved and shown": Drawn(
        "for c in 'rg':\n    plt.plot([1, 2], c)\n    plt.savefig('f.png')\n    plt.show()\n" + OPEN, "r g", "0"
    ),
    "saved, changed and shown": Drawn(
        "plt.plot([1, 2], 'r')\nplt.savefig('f.png')\nplt.plot([2, 1], 'g')\nplt.show()\n", "rg"
    ),
    "an error": Drawn("plt.plot([1, 2], 'r')\nplt.show()\nplt.plot([1, 2], 'b')\n1 / 0\n", "r b"),
    "a figure without pyplot": Drawn(
        "from matplotlib.figure import Figure\nfig = Figure()\nax = fig.subplots().plot([1, 2], 'r')\nfig\n", "r"
    ),
    "interactive": Drawn("plt.ion()\nplt.plot([1, 2], 'r')\nplt.show()\nplt.plot([1, 2], 'g')\nplt.ioff()\n", "r g"),
    "histograms of a table": Drawn(
        "import pandas as pd\nfor c in 'rg':\n    axes = pd.DataFrame({'a': [1, 2, 2]}).hist(color=c)\n    plt.show()\n"
        + OPEN,
        "r g",
        "0",
    ),
    "plots of a table": Drawn(
        "import pandas as pd\nt = pd.DataFrame({'x': [1, 2], 'y': [2, 1]})\nt.plot(color=['r', 'g'])\n"
        "t.plot.scatter('x', 'y', color='b', s=90)\nplt.show()\n" + OPEN,
        "rg b",
        "0",
    ),
    "seaborn": Drawn(
        "import seaborn as sns\nfor c in 'rg':\n    ax = sns.barplot(x=['a'], y=[1], color=c, saturation=1)\n"
        "    plt.show()\n" + OPEN,
        "r g",
        "0",
    ),
    "a grid of seaborn": Drawn(
        "import seaborn as sns\nimport pandas as pd\nt = pd.DataFrame({'x': [1, 2, 3, 4], 'k': list('aabb')})\n"
        "g = sns.displot(t, x='x', col='k', color='r', alpha=1, edgecolor='r')\nplt.show()\n" + OPEN,
        "r",
        "0",
    ),
    "one number again": Drawn(
        "for c in 'rg':\n    plt.figure(1)\n    plt.plot([1, 2], c)\n    plt.show()\n" + OPEN, "r g", "0"
    ),
    "cleared": Drawn("for c in 'rg':\n    plt.clf()\n    plt.plot([1, 2], c)\n    plt.show()\n", "r g"),
    "drawn anew and displayed": Drawn(
        "fig, ax = plt.subplots()\nfor c in 'rgb':\n    ax.clear()\n    ax.plot([1, 2], c)\n    display(fig)\n"
        "plt.close()\n",
        "r g b",
    ),
    "pauses that clear": Drawn(
        "for c in 'rgb':\n    plt.cla()\n    plt.plot([1, 2], c)\n    plt.pause(0.001)\n" + OPEN, "r g b", "0"
    ),
    "subplots by number": Drawn(
        "for n, c in enumerate('rgb', 1):\n    plt.subplot(1, 3, n)\n    plt.plot([1, 2], c)\nplt.show()\n" + OPEN,
        "rgb",
        "0",
    ),
    "two axes in one": Drawn(
        "fig, a = plt.subplots()\na.plot([1, 2], 'r')\na.twinx().plot([2, 1], 'b')\nplt.show()\n", "rb"
    ),
    "one file again and again": Drawn(
        "for c in 'rgb':\n    plt.plot([1, 2], c)\n    plt.savefig('same.png')\n    plt.close()\n"
        "    plt.plot([2, 1], c)\nplt.show()\n" + OPEN,
        "b",
        "0",
    ),
    "shown in a handler": Drawn(
        "try:\n    plt.plot([1, 2], 'r')\n    1 / 0\nexcept ZeroDivisionError:\n    plt.show()\nfinally:\n"
        "    plt.plot([1, 2], 'g')\n    plt.show()\n" + OPEN,
        "r g",
        "0",
    ),
    "an animation in HTML": Drawn(
        "from matplotlib.animation import FuncAnimation\nfrom IPython.display import HTML\nfig, ax = plt.subplots()\n"
        "(line,) = ax.plot([1, 2], 'r')\nani = FuncAnimation(fig, lambda i: line.set_color('rg'[i]), frames=2)\n"
        "html = HTML(ani.to_jshtml())\nplt.close()\nplt.plot([1, 2], 'b')\nplt.show()\n" + OPEN,
        "b",
        "0",
    ),
    "an animation": Drawn(
        "from matplotlib.animation import FuncAnimation\nfig, ax = plt.subplots()\n(line,) = ax.plot([1, 2], 'r')\n"
        "ani = FuncAnimation(fig, lambda i: line.set_color('rg'[i]), frames=2)\nani.save('a.gif', writer='pillow')\n"
        "plt.close()\nprint(len(ani.to_jshtml()) > 1000)\n",
        "",
        "True",
    ),
}


def check(session: Interpreter, program: Drawn) -> Turn:
    """Its pictures hold what they should, and when all is over nothing is open."""
    turn = session.run(HEAD + program.code)
    told = [message["data"] for message in turn.messages if message["t"] in ("display", "result")]
    pictures = [data["image/png"] for data in told if "image/png" in data]
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    look = _LOOK.replace("{colours}", repr(COLOURS)).replace("{pictures}", repr(pictures))
    assert session.run(look).stdout.strip() == program.pictures, turn.log
    assert " ".join(turn.stdout.split()) == program.open
    assert turn.stderr == ""
    assert session.run("plt.get_fignums()\n").result == "[]"
    return turn
