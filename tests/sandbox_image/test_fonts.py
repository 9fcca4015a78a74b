"""Text of many scripts is drawn without a warning where the program names a font, as programs do."""

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
