"""What is shown instead of drawing a figure again is what drawing it again would show."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from sandbox_image.saved_figures import MAX_BYTES
from tests.sandbox_image.zygote import Interpreter, Turn, Zygote

FLAT = """\
import io, os
import numpy as np
import matplotlib.pyplot as plt
fig, ax = plt.subplots(figsize=(3, 2))
(line,) = ax.plot([1, 3, 2])
"""
#: By the name that they give to it. They take as long to draw as all the rest.
PARTS = {
    "image": "image = fig.add_axes((0.7, 0.6, 0.2, 0.2)).imshow(np.arange(16).reshape(4, 4))\n",
    "deep": 'deep = fig.add_axes((0.1, 0.6, 0.2, 0.3), projection="3d")\ndeep.plot([0, 1], [0, 1], [0, 1])\n',
}
HEAD = FLAT + "".join(PARTS.values())

_BESIDE = "fig.add_axes((0.7, 0.6, 0.2, 0.2)).plot([1, 2])"
#: What the changes of some cases need.
PREPARATIONS = {
    "a line less": _BESIDE,
    "cleared": _BESIDE,
    "order": _BESIDE,
    "points in space": "cloud = deep.scatter([0, 1], [0, 1], [0, 1])",
    "transform": "import matplotlib.transforms as T; turn = T.Affine2D(); line.set_transform(turn + ax.transData)",
    "colormap": "image.set_cmap(plt.get_cmap().copy())",
    "ticks of an inset": "inner = ax.inset_axes([0.5, 0.1, 0.4, 0.4]); inner.set_xticks([0.1])",
    "words on ticks": "words = ['a', 'b', 'c']; ax.set_xticks([0, 1, 2]); "
    "ax.xaxis.set_major_formatter(__import__('matplotlib').ticker.FixedFormatter(words))",
    "a function's words": "value = [1]; ax.xaxis.set_major_formatter(lambda at, place: str(value[0]))",
    "layout engine": "fig.set_layout_engine('constrained')",
    "font": "ax.set_title('t'); from matplotlib.font_manager import FontProperties; font = FontProperties(size=5); "
    "ax.title._fontproperties = font",
    "effects": "from matplotlib.patheffects import Normal, Stroke; effects = [Normal()]; "
    "line.set_path_effects(effects)",
}

SHOW = """\
import hashlib
def show(value):
    print(np.asarray(value).shape, hashlib.sha1(bytes(np.ascontiguousarray(value))).hexdigest())
"""

#: The figure is another one afterwards.
CHANGES = {
    "a line more": "ax.plot([2, 2, 2])",
    "a title": "ax.set_title('t')",
    "a colour": "line.set_color('red')",
    "data": "line.set_ydata([0, 0, 1])",
    "an image's data": "image.set_data(np.ones((4, 4)))",
    "limits": "ax.set_xlim(0, 10)",
    "ticks": "ax.set_xticks([0.5])",
    "a line less": "line.remove()",
    "the size": "fig.set_size_inches(2, 2)",
    "axes more": "fig.add_axes((0.4, 0.4, 0.1, 0.1))",
    "axes less": "deep.remove()",
    "a word": "fig.suptitle('s')",
    "a legend": "ax.legend(['a'])",
    "background": "fig.patch.set_facecolor('yellow')",
    "margins": "fig.subplots_adjust(left=0.3)",
    "point of view": "deep.view_init(10, 10)",
    "hidden": "ax.set_axis_off()",
    "cleared": "ax.clear()",
    "turned labels": "for label in ax.get_xticklabels(): label.set_rotation(45)",
    "background of axes": "ax.patch.set_facecolor('yellow')",
    "spine": "ax.spines['top'].set_visible(False)",
    "margin": "ax.margins(0.4)",
    "format of ticks": "ax.ticklabel_format(style='sci', scilimits=(1, 1))",
    "number of ticks": "ax.locator_params(nbins=2)",
    "colours of an image": "image.set_cmap('gray')",
    "range of colours": "image.norm.vmin = 10",
    "frame of an axes": "ax.set_frame_on(False)",
    "grid": "ax.grid(True)",
    "moved": "ax.set_position([0.2, 0.2, 0.3, 0.3])",
    "order": "ax.set_zorder(5)",
    "upside down": "ax.invert_yaxis()",
    "log": "ax.set_yscale('log')",
    "turned in space": "deep.set_proj_type('ortho')",
    "layout": "fig.set_layout_engine('constrained')",
    "attribute": "line._linewidth = 9",
    "points in space": "cloud._offsets3d = ([0.2, 0.5], [0, 0.2], [0, 0.3])",
    "transform": "turn.rotate_deg(30)",
    "colormap": "image.get_cmap().set_under('red'); image.norm.vmin = 8",
    "ticks of an inset": "inner.xaxis.get_major_locator().locs = np.array([0.7])",
    "words on ticks": "words[1] = 'ZZZ'",
    "a function's words": "value[0] = 7",
    "layout engine": "fig.get_layout_engine().set(w_pad=0.5, h_pad=0.5)",
    "font": "font.set_size(30)",
    "effects": "effects.insert(0, Stroke(linewidth=9))",
}


def shown(turn: Turn) -> list[bytes]:
    assert turn.done["status"] == "ok", turn.error
    return [base64.b64decode(message["data"]["image/png"]) for message in turn.of("display")]


@pytest.fixture(params=[True, False], ids=["whole", "by statement"])
def whole(request: pytest.FixtureRequest) -> bool:
    """Code in one chunk, or each statement in a chunk of its own."""
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "save",
    [
        "plt.savefig('f.png', dpi=130)",
        "fig.savefig('f', bbox_inches='tight')",
        "fig.savefig(buffer, dpi=133)\nfile.write(buffer.getvalue())\nfile.close()",
        "def save():\n    plt.savefig('f.png')\nsave()",
    ],
    ids=["by path", "without suffix", "to memory", "in a function"],
)
@pytest.mark.parametrize("after", ["", "print(f'saved {__file__}')\n", "x = 1\n"], ids=["nothing", "harmless", "other"])
def test_a_saved_figure_is_shown_as_it_was_saved(rich_session: Interpreter, save: str, after: str, whole: bool) -> None:
    prepare = "buffer = io.BytesIO()\nfile = open('f.png', 'wb')\n"
    turn = rich_session.run(f"{HEAD}{prepare}{save}\n{after}plt.show()\n", whole=whole)
    assert shown(turn) == [(rich_session.folder / "f.png").read_bytes()]


@pytest.fixture(scope="module")
def unchanged() -> dict[str, bytes]:
    """By program: how its figure looks before the change. Most cases begin with the same."""
    return {}


@pytest.mark.parametrize(
    ("save", "whole"),
    [("plt.savefig('f.png', dpi=130)", False), ("(lambda: fig.savefig('f.png'))()", True)],
    ids=["pyplot", "in a function"],
)
@pytest.mark.parametrize("change", CHANGES)
def test_a_figure_changed_since_is_drawn(
    rich_session: Interpreter, unchanged: dict[str, bytes], save: str, change: str, whole: bool
) -> None:
    prepare = PREPARATIONS.get(change, "")
    needed = [part for name, part in PARTS.items() if name in f"{prepare} {CHANGES[change]}"]
    head = f"{FLAT}{''.join(needed)}{prepare}\n"
    to_file = save.replace("'f.png'", "open('g.png', 'wb')")  # which is not looked at

    def shown_after(code: str) -> bytes:
        [png] = shown(rich_session.run(f"{head}{code};\n", whole=whole))
        return png

    changed = shown_after(f"{to_file}\n{CHANGES[change]}")
    assert shown_after(f"{save}\n{CHANGES[change]}") == changed
    if head + to_file not in unchanged:
        unchanged[head + to_file] = shown_after(to_file)
    assert unchanged[head + to_file] != changed


@pytest.mark.parametrize(
    "save",
    [
        "fig.savefig('f.svg')",
        "fig.savefig('f.jpg', dpi=120)",
        "fig.savefig('f.png', dpi=120, transparent=True)",
        "fig.savefig('f.png', dpi=20)",
        "fig.savefig('f.png', dpi=120, bbox_inches=ax.get_window_extent().transformed(fig.dpi_scale_trans.inverted()))",
        "image.set_data(np.random.rand(1500, 1500)); fig.savefig('f.png', dpi=2000)",
        "os.mkfifo('p'); fd = os.open('p', os.O_RDWR); fig.savefig(open('p', 'wb'), format='png', dpi=120)",
        "buffer = io.BytesIO(b'x'); buffer.read(); fig.savefig(buffer, dpi=120)",
    ],
    ids=["svg", "jpeg", "transparent", "small", "a part", "too large", "pipe", "behind something"],
)
def test_what_is_no_file_to_be_shown_is_drawn(rich_session: Interpreter, save: str, whole: bool) -> None:
    [png] = shown(rich_session.run(f"{HEAD}{save};\n", whole=whole))
    assert png.startswith(b"\x89PNG")
    assert len(png) < MAX_BYTES
    assert int.from_bytes(png[16:20], "big") == 300  # pixels of its width on the screen


@pytest.fixture(scope="module")
def alone() -> dict[str, str]:
    """By code: what it says as a program of its own."""
    return {}


@pytest.mark.parametrize(
    "code",
    [
        "plt.savefig('f.png', dpi=40)\nshow(fig.canvas.buffer_rgba())",
        "plt.savefig('f.png')\nline.set_color('red')\nshow(fig.canvas.buffer_rgba())\nplt.draw()\n"
        "show(fig.canvas.buffer_rgba())",
        "fig.savefig('f.png', dpi=40)\nfig.canvas.draw_idle()\nshow(fig.canvas.renderer.buffer_rgba())",
        "plt.savefig('f.png', dpi=40)\nprint('saved')\nfig.canvas.draw()\nshow(fig.canvas.buffer_rgba())",
        "print(hasattr(fig.canvas, 'renderer'))\nplt.savefig('f.png', dpi=40)\nfig.tight_layout()\n"
        "show(fig.canvas.get_renderer().buffer_rgba())",
        "plt.savefig('f.png', dpi=40)\nplt.savefig('f.png', dpi=60)\n"
        "print(fig.canvas.copy_from_bbox(fig.bbox).get_extents())\nshow(fig.canvas.buffer_rgba())",
        "import copy, pickle\nfig.savefig('f.png')\nagain = pickle.loads(pickle.dumps(fig))\n"
        "again.canvas.draw()\nshow(again.canvas.buffer_rgba())\n"
        "print(fig.canvas.manager is plt.get_current_fig_manager())",
        "import traceback\ntry:\n    plt.savefig('no/such/folder.png')\nexcept OSError:\n"
        "    print(traceback.format_exc())",
        "import traceback\nax.set_title('$\\\\nosuch{$')\ntry:\n    plt.savefig('f.png')\nexcept ValueError:\n"
        "    print(traceback.format_exc())",
        "title = ax.set_title('hello')\nplt.savefig('f.png', dpi=300)\nprint(title.get_window_extent())",
        "fig.set_layout_engine('constrained')\nplt.savefig('f.png', dpi=37)\nprint(ax.get_position())",
        "fig.canvas.mpl_connect('draw_event', lambda event: print('drawn'))\nplt.savefig('f.png')\nprint('saved')",
        "ax.xaxis.set_major_formatter(lambda at, place: print(at) or 'x')\nplt.savefig('f.png')\nprint('saved')",
        "plt.savefig('f.png')\nprint(sorted(vars(fig.canvas)))",
        "print = lambda *a, p=print: p(*a, fig.canvas.renderer.dpi)\nplt.savefig('f.png', dpi=30)\nprint('x')",
    ],
    ids=[
        *("look", "change and look", "idle", "drawn", "renderer", "twice", "pickled", "no folder", "no text"),
        *("extent", "layout", "event", "formatter", "attributes", "own print"),
    ],
)
def test_the_program_sees_nothing_of_it(
    rich_session: Interpreter, rich_zygote: Zygote, alone: dict[str, str], tmp_path: Path, code: str, whole: bool
) -> None:
    program = f"{HEAD}{SHOW}{code}\nplt.close('all')\nimport sys; sys.stdout.write(__file__)\n"
    if code not in alone:
        file = tmp_path / "main.py"
        file.write_text(program)
        done = subprocess.run(
            [rich_zygote.python, str(file)], cwd=tmp_path, env={"MPLBACKEND": "Agg"}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        alone[code] = done.stdout.replace(str(file), "main.py")
    turn = rich_session.run(program, whole=whole)
    assert turn.done["status"] == "ok", turn.error
    name = turn.stdout.splitlines()[-1]
    assert turn.stdout.replace(name, "main.py") == alone[code]


def test_a_thousand_figures_are_not_kept(rich_session: Interpreter) -> None:
    code = """
import gc, weakref
import matplotlib.pyplot as plt
figures = weakref.WeakSet()
for _ in range(60):
    figures.add(plt.figure(figsize=(0.5, 0.5)))
    plt.savefig("f.png")
    plt.close()
gc.collect()
print(len(figures))
"""
    turn = rich_session.run(code.lstrip(), whole=True)
    assert int(turn.stdout) < 20


def test_a_figure_without_anything_in_it_is_shown_when_it_is_asked_for(rich_session: Interpreter) -> None:
    code = "import matplotlib.pyplot as plt\nfig, axes = plt.subplots(2, 2, layout='constrained')\n"
    assert shown(rich_session.run(code + "print(1)\n", whole=True)) == []
    assert len(shown(rich_session.run(code + "plt.show()\n", whole=True))) == 1


@pytest.mark.parametrize(
    "content",
    [
        *("ax.plot([1])", "ax.set_xlabel('x')", "ax.set_title('x', loc='left')", "ax.text(0, 0, 'x')", "ax.axhline(0)"),
        *("fig.suptitle('x')", "ax.set_xticks([0, 1], ['low', 'high'])", "fig.patch.set_facecolor('red')"),
        *("ax.set_facecolor('red')", "ax.set_xscale('log')", "ax.set_xlim(3, 4)", "ax.inset_axes([0, 0, 1, 1])"),
        *("fig.add_subplot(projection='mollweide')", "fig.add_subplot(projection='3d').set_zlabel('z')"),
        *("ax.annotate('x', (0, 0))", "ax.table([['x']])", "ax.spines['top'].set_color('red')", "ax.set_axis_off()"),
        "fig.add_artist(plt.Circle((0, 0), 1))",
    ],
)
def test_a_figure_with_something_in_it_is_shown(rich_session: Interpreter, content: str) -> None:
    code = f"import matplotlib.pyplot as plt\nfig, ax = plt.subplots(figsize=(2, 2))\n{content};\n"
    assert len(shown(rich_session.run(code, whole=True))) == 1
