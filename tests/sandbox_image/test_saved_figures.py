"""What is shown instead of drawing a figure again is what drawing it again would show."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from sandbox_image.saved_figures import MAX_BYTES
from tests.sandbox_image.zygote import Interpreter, Turn, Zygote

HEAD = """\
import io, os
import numpy as np
import matplotlib.pyplot as plt
fig, ax = plt.subplots(figsize=(3, 2))
(line,) = ax.plot([1, 3, 2])
image = fig.add_axes((0.7, 0.6, 0.2, 0.2)).imshow(np.arange(16).reshape(4, 4))
deep = fig.add_axes((0.1, 0.6, 0.2, 0.3), projection="3d")
deep.plot([0, 1], [0, 1], [0, 1])
"""

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
}


def shown(turn: Turn) -> list[bytes]:
    assert turn.done["status"] == "ok", turn.error
    return [base64.b64decode(message["data"]["image/png"]) for message in turn.of("display")]


def run(session: Interpreter, code: str) -> list[bytes]:
    return shown(session.run(HEAD + code, whole=True))


@pytest.mark.parametrize(
    "save",
    [
        "plt.savefig('f.png', dpi=71)",
        "fig.savefig('f', bbox_inches='tight')",
        "fig.savefig(buffer, dpi=33)\nopen('f.png', 'wb').write(buffer.getvalue())",
    ],
    ids=["by path", "without suffix", "to memory"],
)
def test_a_saved_figure_is_shown_as_it_was_saved(rich_session: Interpreter, save: str) -> None:
    read = "print(open('f.png', 'rb').read().hex())\n"
    turn = rich_session.run(f"{HEAD}buffer = io.BytesIO()\n{save}\nplt.show()\n{read}", whole=True)
    assert shown(turn) == [bytes.fromhex(turn.stdout)]


@pytest.mark.parametrize("save", ["plt.savefig('f.png', dpi=71)", "fig.savefig('f.png')"], ids=["pyplot", "figure"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_figure_changed_since_is_drawn(rich_session: Interpreter, save: str, change: str) -> None:
    [saved_only] = run(rich_session, f"{save}\n")
    [unsaved] = run(rich_session, f"{change}\n")
    assert run(rich_session, f"{save}\n{change}\n") == [unsaved]
    assert unsaved != saved_only


@pytest.mark.parametrize(
    "save",
    [
        "fig.savefig('f.svg')",
        "fig.savefig('f.jpg', dpi=20)",
        "fig.savefig('f.png', dpi=20, transparent=True)",
        "image.set_data(np.random.rand(1500, 1500)); fig.savefig('f.png', dpi=2000)",
        "os.mkfifo('p'); fd = os.open('p', os.O_RDWR); fig.savefig(open('p', 'wb'), format='png', dpi=20)",
        "buffer = io.BytesIO(b'x'); buffer.read(); fig.savefig(buffer, dpi=20)",
    ],
    ids=["svg", "jpeg", "transparent", "too large", "pipe", "behind something"],
)
def test_what_is_no_file_to_be_shown_is_drawn(rich_session: Interpreter, save: str) -> None:
    [png] = run(rich_session, f"{save};\n")
    assert png.startswith(b"\x89PNG")
    assert len(png) < MAX_BYTES
    assert int.from_bytes(png[16:20], "big") == 300  # pixels of its width on the screen


@pytest.mark.parametrize(
    "code",
    [
        "plt.savefig('f.png', dpi=40)\nshow(fig.canvas.buffer_rgba())",
        "plt.savefig('f.png')\nline.set_color('red')\nplt.draw()\nshow(fig.canvas.buffer_rgba())",
        "fig.savefig('f.png', dpi=40)\nfig.canvas.draw_idle()\nshow(fig.canvas.renderer.buffer_rgba())",
        "plt.savefig('f.png', dpi=40)\nfig.canvas.draw()\nshow(fig.canvas.buffer_rgba())",
        "print(hasattr(fig.canvas, 'renderer'))\nplt.savefig('f.png', dpi=40)\n"
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
    ],
    ids=["look", "draw", "idle", "drawn", "renderer", "twice", "pickled", "no folder", "no text"],
)
def test_the_program_sees_nothing_of_it(
    rich_session: Interpreter, rich_zygote: Zygote, tmp_path: Path, code: str
) -> None:
    program = f"{HEAD}{SHOW}{code}\nplt.close('all')\nprint(__file__)\n"
    file = tmp_path / "main.py"
    file.write_text(program)
    alone = subprocess.run(
        [rich_zygote.python, str(file)], cwd=tmp_path, env={"MPLBACKEND": "Agg"}, capture_output=True, text=True
    )
    assert alone.returncode == 0, alone.stderr
    turn = rich_session.run(program, whole=True)
    assert turn.done["status"] == "ok", turn.error
    *said, name = turn.stdout.splitlines()
    assert "\n".join([*said, name]).replace(name, str(file)) == alone.stdout.rstrip("\n")


def test_a_figure_without_anything_in_it_is_shown_when_it_is_asked_for(rich_session: Interpreter) -> None:
    code = "import matplotlib.pyplot as plt\nfig, axes = plt.subplots(2, 2, layout='constrained')\n"
    assert shown(rich_session.run(code + "print(1)\n", whole=True)) == []
    assert len(shown(rich_session.run(code + "plt.show()\n", whole=True))) == 1
    contents = (
        "[1, 1].plot([1])",
        "[0, 0].set_xlabel('x')",
        "[1, 0].set_title('x', loc='left')",
        "[0, 1].text(0, 0, 'x')",
    )
    for content in (*(f"axes{part}" for part in contents), "fig.suptitle('x')"):
        assert len(shown(rich_session.run(f"{code}{content};\n", whole=True))) == 1, content
