"""Text of many scripts is drawn without a warning, where the program names a font, as programs do, and where it does
not."""

import pytest

from tests.sandbox_image.zygote import Interpreter

_DRAW = """
import matplotlib.pyplot as plt
for family, text in [
    ("Arial Unicode MS", "Latin Ελληνικά Кириллица"),
    ("SimHei", "销售额"), ("MS Gothic", "売上高"), ("Malgun Gothic", "매출"),
    ("Noto Emoji", "\\N{GRINNING FACE}"), ("Noto Sans Arabic", "\\u0645"), ("Noto Sans Devanagari", "\\u0905"),
]:
    plt.rcParams["font.family"] = [family, "DejaVu Sans"]
    figure = plt.figure(figsize=(1, 1))
    figure.text(0.1, 0.5, text)
    figure.canvas.draw()
    print(min(figure.canvas.buffer_rgba().tobytes()) < 128)
plt.close("all")
"""


def test_named_fonts_draw_their_scripts(rich_session: Interpreter) -> None:
    turn = rich_session.run(_DRAW, whole=True)
    assert turn.error is None, turn.error
    assert turn.stderr == ""
    assert turn.stdout == "True\n" * 7


#: Some that DejaVu Sans has not, of the scripts that the fonts of the set have.
TEXTS = (
    "销售额",
    "売上高",
    "매출",
    "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\u0e44\u0e17\u0e22",
    "\N{GRINNING FACE}\N{WHITE HEAVY CHECK MARK}",
)
_HEAD = "import matplotlib.pyplot as plt\nimport seaborn as sns\n"


@pytest.mark.parametrize(
    "style", ["", "sns.set_theme()\n", "plt.rcParams['font.family'] = 'Liberation Serif', 'DejaVu Serif'\n"]
)
@pytest.mark.parametrize("how", ["plt.show()", "plt.savefig('f.png')", "plt.savefig('f.png')\nplt.show()"])
def test_no_font_has_to_be_named(rich_session: Interpreter, style: str, how: str) -> None:
    """What is drawn differs from text to text: boxes would be the same."""
    code = f"{_HEAD}{style}for text in {TEXTS!r}:\n    plt.figure(figsize=(2, 1))\n    plt.title(text[:1])\n"
    code += "".join(f"    {line}\n" for line in how.split("\n")) + "    plt.close()\n"
    turn = rich_session.run(code)
    assert turn.error is None, turn.error
    assert "missing" not in turn.stderr
    pictures = [shown["data"]["image/png"] for shown in turn.of("display")]
    assert len(set(pictures)) == (len(TEXTS) if "show" in how else 0)


def test_text_that_every_font_has_opens_no_other(rich_session: Interpreter) -> None:
    code = (
        "import os\nimport matplotlib.pyplot as plt\nplt.plot([-1, 1])\nplt.title('Größe −1 → Ω')\nplt.show()\n"
        "plt.plot([1])\n"
        "print(sorted({os.path.basename(os.readlink(f'/proc/self/fd/{n}')) for n in os.listdir('/proc/self/fd')"
        " if os.path.exists(f'/proc/self/fd/{n}')} & {'NotoSansCJKjp-Regular.otf', 'DejaVuSans.ttf'}))\nplt.close()\n"
    )
    assert rich_session.run(code).stdout == "['DejaVuSans.ttf']\n"
