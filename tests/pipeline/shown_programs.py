"""What programs print, show and write, and what the model is told of it.

The names say which kind a program stands for: reports of users elsewhere (A1 to A14), and what is near them. They run
in one session, in this order.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """``told``: what the model gets, as ``plainly`` of test_shown.py leaves it. ``pictures``: how many a client gets.
    ``fails``: it ends early, and what follows ``told`` is how to go on."""

    code: str
    told: str
    pictures: int = 0
    fails: bool = False
    language: str = "python"


FIGURE = "<Figure size 640x480 with 1 Axes>\n"
NO_NETWORK = "this sandbox has no network; `pip list` shows the libraries that are installed\n"
PLT = "import matplotlib.pyplot as plt\n"
PD = "import pandas as pd\n"
IPD = "from IPython.display import *\n"
ROWS = {
    "A1 a loop of figures": Row(PLT + "for i in range(5): plt.figure(); plt.plot([i, 1]); plt.show()\n", FIGURE * 5, 5),
    "A1 a loop of subplots": Row(
        PLT
        + (
            "for i in range(3):\n    fig, ax = plt.subplots()\n    ax.plot([i, 1])\n    plt.show()\n"
            "    print(plt.get_fignums())\n"
        ),
        FIGURE + "[]\n<Figure size 640x480 with 1 Axes>\n[]\n<Figure size 640x480 with 1 Axes>\n[]\n",
        3,
    ),
    "A1 a loop that shows at its end": Row(
        PLT + "for i in range(3):\n    plt.figure()\n    plt.plot([i, 1])\nplt.show()\nplt.get_fignums()\n",
        FIGURE * 3 + "[]\n",
        3,
    ),
    "A1 figures of a function": Row(
        PLT + "def draw(d):\n    plt.plot(d)\n    plt.show()\ndraw([1]); draw([2])\n", FIGURE * 2, 2
    ),
    "A1 left open": Row(PLT + "for i in range(2):\n    plt.figure(); plt.plot([i])\n", FIGURE * 2, 2),
    "A1 closed": Row(PLT + "plt.plot([1])\nplt.close('all')\n", "(no output)"),
    "A2 histograms": Row(
        PLT + "for d in ([1, 2, 2], [5, 6, 6]): plt.hist(d); plt.title(str(d)); plt.show()\n", FIGURE * 2, 2
    ),
    "A2 of a table": Row(
        PD + PLT + "axes = pd.DataFrame({'a': [1, 2], 'b': [2, 2]}).hist()\nplt.show()\nplt.get_fignums()\n",
        "<Figure size 640x480 with 2 Axes>\n[]\n",
        1,
    ),
    "A2 plots of a table": Row(
        PD
        + PLT
        + ("df = pd.DataFrame({'a': [1, 2], 'b': [2, 2]})\nfor c in df:\n    df[c].plot(kind='bar')\n    plt.show()\n"),
        FIGURE * 2,
        2,
    ),
    "A2 seaborn": Row(
        PLT + "import seaborn as sns\nfor c in 'ab':\n    ax = sns.histplot([1, 2, 2])\n    plt.show()\n", FIGURE * 2, 2
    ),
    "an animation": Row(
        PLT
        + (
            "from matplotlib.animation import FuncAnimation\nfrom IPython.display import HTML\n"
            "fig, ax = plt.subplots()\n(line,) = ax.plot([1, 2])\n"
            "ani = FuncAnimation(fig, lambda i: line.set_ydata([i, 2]), frames=2)\n"
            "ani.save('a.gif', writer='pillow')\nplt.close()\nHTML(ani.to_jshtml())\n"
        ),
        "Once\nLoop\nReflect\n\n[Files: created a.gif]",
    ),
    "A3 $?": Row("false\necho $?\n", "1\n", language="bash"),
    "A3 of a subshell": Row("(exit 3)\necho $?\n", "3\n", language="bash"),
    "A3 kept": Row("grep -q x /dev/null\nrc=$?\necho $rc\n", "1\n", language="bash"),
    "A3 PIPESTATUS": Row("false | true\necho ${PIPESTATUS[0]}\n", "1\n", language="bash"),
    "A3 pipefail": Row("set -o pipefail\nfalse | cat\necho $?\n", "1\n", language="bash"),
    "A3 $_": Row("mkdir -p new/folder\ncd $_\nbasename $PWD\ncd ../..\n", "folder\n", language="bash"),
    "A3 nothing of ours": Row(
        "env | cut -d= -f1 | grep -ci eager\ncompgen -v | grep -ci eager\ndeclare -F | wc -l\n",
        "0\n0\n0\n",
        language="bash",
    ),
    "A3 set -e": Row("set -e\necho a\nfalse\necho never\n", "a\nSystemExit: 1\n", fails=True, language="bash"),
    "A3 a trap": Row("trap 'echo bye $?' EXIT\necho a\n(exit 4)\n", "a\nbye 4\n", language="bash"),
    "A3 LINENO": Row("\necho $LINENO\nf() {\n  echo $LINENO\n}\nf\n", "2\n4\n", language="bash"),
    "A3 set -u": Row(
        "set -u\necho ${x-unset}\necho $x\n",
        "unset\nmain.sh: line 3: x: unbound variable\nSystemExit: 1\n",
        fails=True,
        language="bash",
    ),
    "A3 a command that is none": Row(
        "nosuchcommand\necho $?\n", "main.sh: line 1: nosuchcommand: command not found\n127\n", language="bash"
    ),
    "A3 the last status": Row("echo a\nls /nosuchfolder 2>/dev/null\n", "a\n", language="bash"),
    "A3 a here-document": Row("cat <<EOF\n$((1 + 1)) $LINENO\nEOF\n", "2 1\n", language="bash"),
    "A4 a name of other bytes": Row(
        "n = open(b'bad\\xff.txt', 'w').write('3')\n", "(no output)\n[Files: created bad\\xff.txt (1 bytes)]"
    ),
    "A4 and the next file": Row("n = open('c.txt', 'w').write('1')\n", "(no output)\n[Files: created c.txt (1 bytes)]"),
    "A4 changed and deleted": Row(
        "import os\nn = open('c.txt', 'w').write('12')\nos.remove(b'bad\\xff.txt')\n",
        "(no output)\n[Files: deleted bad\\xff.txt, changed c.txt (2 bytes)]",
    ),
    "A4 a folder of other bytes": Row(
        "import os\nos.mkdir(b'd\\xe9')\nn = open(b'd\\xe9/f\\xe8.csv', 'w').write('1')\n",
        "(no output)\n[Files: created d\\xe9/f\\xe8.csv (1 bytes)]",
    ),
    "A4 a name with a line break": Row(
        "n = open('a\\nb.txt', 'w').write('1')\n", "(no output)\n[Files: created a b.txt (1 bytes)]"
    ),
    "A4 a surrogate": Row(
        "n = open('s\\udcff.txt', 'w').write('1')\nimport os\nos.remove('s\\udcff.txt')\n", "(no output)"
    ),
    "A5 one picture": Row(
        "from PIL import Image\nImage.new('RGB', (5, 5), 'red')\n", "<PIL.Image.Image image mode=RGB size=5x5>\n", 1
    ),
    "A5 displayed": Row(
        "from PIL import Image\ndisplay(Image.new('L', (5, 5)))\ndisplay(Image.new('RGBA', (5, 5)))\n",
        "<PIL.Image.Image image mode=L size=5x5>\n<PIL.Image.Image image mode=RGBA size=5x5>\n",
        2,
    ),
    "A5 by its method": Row(
        "from PIL import Image\nImage.new('RGB', (5, 5), 'red').show()\n",
        "<PIL.Image.Image image mode=RGB size=5x5>\n",
        1,
    ),
    "A5 of a file": Row(
        "from PIL import Image as P\nP.new('RGB', (5, 5), 'red').save('r.png')\n"
        "from IPython.display import Image\nImage('r.png')\n",
        "[image/png, 5x5]\n\n[Files: created r.png]",
        1,
    ),
    "A5 a JPEG": Row(
        "from PIL import Image as P\nP.new('RGB', (5, 5), 'red').save('r.jpg')\n"
        "from IPython.display import Image, display\ndisplay(Image(filename='r.jpg'))\n",
        "[image/jpeg]\n\n[Files: created r.jpg]",
        1,
    ),
    "A6 plotly shows": Row(
        "import plotly.express as px\npx.bar(x=['a'], y=[1], title='T').show()\n",
        "[plotly chart 'T', shown where plotly's JSON can be drawn]\n"
        "- bar: x: 1 values, y: 1 values\naxes: x: x, y: y\n",
    ),
    "A6 plotly, as a value": Row(
        "import plotly.graph_objects as go\ngo.Figure(go.Scatter(x=[1, 2], y=[3, 4], name='s'))\n",
        "[plotly chart, shown where plotly's JSON can be drawn]\n- scatter 's': x: 2 values, y: 2 values\n",
    ),
    "A6 plotly cannot make a picture": Row(
        "import plotly.graph_objects as go\ntry:\n    go.Figure().write_image('a.png')\n"
        "except ValueError as error:\n    print('Kaleido' in str(error))\n",
        "True\n",
    ),
    "A6 altair": Row(
        "import altair as alt, pandas as pd\n"
        "alt.Chart(pd.DataFrame({'a': [1, 2]}), title='T').mark_bar().encode(x='a:Q')\n",
        "[Vega-Lite chart 'T']\n- bar of 2 rows: x: a\n",
    ),
    "A6 altair, displayed": Row(
        "import altair as alt, pandas as pd\n"
        "alt.Chart(pd.DataFrame({'a': [1, 2]})).mark_line().encode(x='a:Q', y='a:Q').display()\n",
        "[Vega-Lite chart]\n- line of 2 rows: x: a, y: a\n",
    ),
    "A6 Markdown": Row(IPD + "Markdown('# T\\n*x*')\n", "# T\n*x*\n"),
    "A6 HTML": Row(IPD + "display(HTML('<h1>T</h1>a <b>b</b>'))\n", "T\na b\n"),
    "A6 a list in HTML": Row(IPD + "HTML('<ul><li>one<li>two</ul><script>no()</script>')\n", "one\ntwo\n"),
    "A6 LaTeX": Row(IPD + "display(Latex('$x^2$'), Math('y'))\n", "$x^2$\n$\\displaystyle y$\n"),
    "A6 JSON": Row(IPD + "JSON({'a': [1, 2]})\n", '{"a": [1, 2]}\n'),
    "A6 SVG": Row(
        IPD + 'SVG(\'<svg xmlns="http://www.w3.org/2000/svg" width="5" height="5"></svg>\')\n', "[image/svg+xml]\n"
    ),
    "A6 a Styler": Row(PD + "pd.DataFrame({'a': [1]}).style\n", "|  | a |\n| --- | --- |\n| 0 | 1 |\n"),
    "A6 a Styler, formatted": Row(
        PD + "display(pd.DataFrame({'a': [0.5], 'b': ['x']}).style.format({'a': '{:.0%}'}).hide(axis='index'))\n",
        "| a | b |\n| --- | --- |\n| 50% | x |\n",
    ),
    "A6 sympy": Row("import sympy\nsympy.sqrt(8)\n", "2*sqrt(2)\n"),
    "A6 a figure by name": Row(PLT + "fig, ax = plt.subplots()\nax.plot([1])\nfig\n", FIGURE, 1),
    "A6 a table": Row(PD + "pd.DataFrame({'a': [1]})\n", "   a\n0  1\n"),
    "A6 a column": Row(PD + "pd.Series([1, 2], name='n')\n", "0    1\n1    2\nName: n, dtype: int64\n"),
    "A7 !pip of what is there": Row("!pip install -q tqdm\n", "Requirement already satisfied: tqdm\n"),
    "A7 %pip of what is there": Row(
        "%pip install pandas\n",
        "Requirement already satisfied: pandas\nNote: you may need to restart the kernel to use updated packages.\n",
    ),
    "A7 -m pip of what is not": Row(
        "import subprocess, sys\nn = subprocess.run([sys.executable, '-m', 'pip', 'install', 'pandas', 'nosuch'])\n",
        "ERROR: cannot install nosuch: this sandbox has no network; `pip list` shows the libraries that are installed\n"
        "Requirement already satisfied: pandas\n",
    ),
    "A7 bash": Row(
        "pip install nosuch\necho $?\npip3 install tqdm\n",
        "ERROR: cannot install nosuch: this sandbox has no network; `pip list` shows the libraries that are installed\n"
        "1\nRequirement already satisfied: tqdm\n",
        language="bash",
    ),
    "A7 uninstall": Row(
        "!pip uninstall -y pandas\n", "ERROR: cannot uninstall pandas: the libraries of this sandbox are read-only\n"
    ),
    "a library of another set": Row(
        "import lightgbm\n",
        'Traceback (most recent call last):\n  File "main.py", line 1, in <module>\n'
        "    import lightgbm\nModuleNotFoundError: No module named 'lightgbm'\n"
        "lightgbm is not installed in this sandbox; it is in the library set `full`\n",
        fails=True,
    ),
    "a part of a library of another set": Row(
        "from imblearn.over_sampling import SMOTE\n",
        'Traceback (most recent call last):\n  File "main.py", line 1, in <module>\n'
        "    from imblearn.over_sampling import SMOTE\n"
        "ModuleNotFoundError: No module named 'imblearn'\n"
        "imblearn is not installed in this sandbox; it is in the library set `full`\n",
        fails=True,
    ),
    "a library that nobody has": Row(
        "import nosuchlibrary\n",
        'Traceback (most recent call last):\n  File "main.py", line 1, in <module>\n'
        "    import nosuchlibrary\nModuleNotFoundError: No module named 'nosuchlibrary'\n",
        fails=True,
    ),
    "A8 a progress bar": Row("for i in range(100): print(f'\\rprogress {i}%', end='')\n", "progress 99%"),
    "A8 that ends": Row(
        "for i in range(100): print(f'\\rprogress {i}%', end='')\nprint()\nprint('done')\n", "progress 99%\ndone\n"
    ),
    "A8 on stderr": Row("import sys\nfor i in range(5): sys.stderr.write(f'\\r{i}/5'); sys.stderr.flush()\n", "4/5"),
    "A8 a shorter line": Row("print('a long line', end='\\r')\nprint('short')\n", "shortg line\n"),
    "A8 erased": Row("print('a long line', end='\\r\\x1b[2K')\nprint('short')\n", "short\n"),
    "A8 backspaces": Row("print('abc\\b\\bX')\n", "aXc\n"),
    "A8 colours": Row("print('\\x1b[31mred\\x1b[0m \\x1b[1;38;5;4mblue\\x1b[m')\n", "red blue\n"),
    "A8 lines above": Row(
        "print('one'); print('two'); print('\\x1b[2A\\x1b[KONE'); print('\\x1b[B', end='')\n", "ONE\ntwo\n"
    ),
    "A8 cleared": Row(
        "from IPython.display import clear_output\nfor i in range(3): clear_output(wait=True); print('step', i)\n",
        "step 2\n",
    ),
    "A8 cleared by the shell": Row("echo a\nprintf '\\033[H\\033[2J'\necho b\n", "b\n", language="bash"),
    "A8 a title": Row("print('\\x1b]0;title\\x07text')\n", "text\n"),
    "A9 24 columns": Row(
        PD
        + (
            "text = str(pd.DataFrame({f'column_{i}': [i] for i in range(24)}))\n"
            "print(all(f'column_{i} ' in text + ' ' for i in range(24)), max(map(len, text.split('\\n'))) <= 120)\n"
        ),
        "True True\n",
    ),
    "A9 8 wide columns": Row(
        PD + "print(pd.DataFrame({f'a_rather_long_column_{i}': [1.5] for i in range(8)}))\n",
        "   a_rather_long_column_0  a_rather_long_column_1  a_rather_long_column_2  a_rather_long_column_3  \\\n"
        "0                     1.5                     1.5                     1.5                     1.5   \n"
        "\n"
        "   a_rather_long_column_4  a_rather_long_column_5  a_rather_long_column_6  a_rather_long_column_7  \n"
        "0                     1.5                     1.5                     1.5                     1.5  \n",
    ),
    "A9 many columns and rows": Row(
        PD
        + (
            "df = pd.DataFrame({f'c{i}': range(100) for i in range(24)})\n"
            "print(str(df).count('\\n'), 'c23' in str(df))\n"
        ),
        "13 True\n",
    ),
    "A9 a description": Row(
        PD
        + (
            "text = str(pd.DataFrame({f'column_{i}': [1.5, 2] for i in range(12)}).describe())\n"
            "print(all(f'column_{i} ' in text + ' ' for i in range(12)))\n"
        ),
        "True\n",
    ),
    "A10 indented": Row(" print(1)\n print(2)\n", "1\n2\n"),
    "A10 indented blocks": Row(
        "    import os\n    for i in range(2):\n        print(i)\n    print('end')\n", "0\n1\nend\n"
    ),
    "A10 indented by a tab": Row("\tx = 1\n\tif x:\n\t\tprint(x)\n", "1\n"),
    "A10 indented below a comment": Row(
        "# a comment\n    x = 1\n",
        '  File "main.py", line 2\n    x = 1\nIndentationError: unexpected indent\n',
        fails=True,
    ),
    "A10 prompts": Row(">>> x = 1\n>>> x + 1\n", "2\n"),
    "A10 prompts and dots": Row(">>> for i in range(2):\n...     print(i)\n...\n>>> print('end')\n", "0\n1\nend\n"),
    "A10 IPython's prompts": Row(
        "In [1]: x = 1\n\nIn [2]: for i in range(2):\n   ...:     print(i)\n   ...:\n\nIn [3]: x\n", "0\n1\n1\n"
    ),
    "A10 a magic": Row("%env B=2\nimport os\nprint(os.environ['B'])\n", "env: B=2\n2\n"),
    "A10 a shell": Row("!echo $((1 + 1))\nfiles = !echo a; echo b\nprint(files)\n", "2\n['a', 'b']\n"),
    "A10 a cell of bash": Row("%%bash\nfalse\necho $?\n", "1\n"),
    "A10 a cell that writes": Row("%%writefile w.py\nx = 1\n", "Writing w.py\n\n[Files: created w.py (6 bytes)]"),
    "A10 help": Row(
        "len?\n",
        "Signature: len(obj, /)\nDocstring: Return the number of items in a container.\n"
        "Type:      builtin_function_or_method\n",
    ),
    "A10 an indented magic": Row("if True:\n    !echo in\n    %env A=1\n", "in\nenv: A=1\n"),
    "A11 CJK": Row(PLT + "plt.title('销售额 売上高 매출')\nplt.plot([1])\nplt.show()\n", FIGURE, 1),
    "A11 ticks": Row(
        PLT + "plt.xticks([0, 1], ['一月', '二月'])\nplt.plot([1])\nplt.savefig('t.png')\n",
        FIGURE + "\n[Files: created t.png]",
        1,
    ),
    "A11 emoji, of seaborn": Row(
        "import seaborn as sns\nsns.set_theme()\nax = sns.barplot(x=['😀', '東京'], y=[1, 2])\n", FIGURE, 1
    ),
    "A11 a script that no font has": Row(
        PLT + "plt.title('ሀሁ')\nplt.plot([1])\nplt.show()\n",
        "main.py:4: UserWarning: 2 characters are missing from the font: ሀሁ\n  plt.show()\n"
        "<Figure size 640x480 with 1 Axes>\n",
        1,
    ),
    "A11 and again": Row(
        PLT + "plt.title('ሀሁ')\nplt.plot([1])\nplt.show()\n",
        "main.py:4: UserWarning: 2 characters are missing from the font: ሀሁ\n  plt.show()\n"
        "<Figure size 640x480 with 1 Axes>\n",
        1,
    ),
    "A12 an exit with a message": Row(
        "import sys\nx = 1\nsys.exit('bad input')\n", "bad input\nSystemExit in line 3: bad input\n", fails=True
    ),
    "A12 a number": Row("import sys\nsys.exit(3)\n", "SystemExit in line 2: 3\n", fails=True),
    "A12 success": Row("import sys\nprint('a')\nsys.exit(0)\n", "a\n"),
    "A12 without anything": Row("import sys\nprint('a')\nsys.exit()\nprint('never')\n", "a\n"),
    "A12 raised": Row("raise SystemExit('no data')\n", "no data\nSystemExit in line 1: no data\n", fails=True),
    "A12 in a function": Row(
        "import sys\ndef main():\n    if True:\n        sys.exit('deep')\nmain()\n",
        "deep\nSystemExit in line 4: deep\n",
        fails=True,
    ),
    "A12 quit": Row("quit('bye')\n", "bye\nSystemExit in line 1: bye\n", fails=True),
    "A12 an object": Row(
        "import sys\nsys.exit({'code': 1})\n", "{'code': 1}\nSystemExit in line 2: {'code': 1}\n", fails=True
    ),
    "A12 argparse": Row(
        "import argparse\nparser = argparse.ArgumentParser(prog='p')\n"
        "a = parser.add_argument('--n', required=True)\nparser.parse_args([])\n",
        "usage: p [-h] --n N\np: error: the following arguments are required: --n\nSystemExit in line 4: 2\n",
        fails=True,
    ),
    "A14 beside the program": Row(
        "import os\nhere = os.path.dirname(os.path.abspath(__file__))\n"
        "n = open(os.path.join(here, 'o.csv'), 'w').write('x')\n",
        "(no output)\n[Files: created o.csv (1 bytes)]",
    ),
    "A14 by pathlib": Row(
        "from pathlib import Path\nn = Path(__file__).resolve().with_name('p.csv').write_text('x')\n",
        "(no output)\n[Files: created p.csv (1 bytes)]",
    ),
    "A14 in a folder": Row(
        "from pathlib import Path\nout = Path(__file__).parent / 'out'\nout.mkdir()\n"
        "n = (out / 'q.csv').write_text('xy')\n",
        "(no output)\n[Files: created out/q.csv (2 bytes)]",
    ),
    "A14 read back": Row(
        "import os\n"
        "print(open(os.path.join(os.path.dirname(__file__), 'o.csv')).read(), os.path.exists('out/q.csv'))\n",
        "x True\n",
    ),
    "A14 a figure": Row(
        PLT
        + (
            "import os\nplt.plot([1])\nplt.savefig(os.path.join(os.path.dirname(__file__), 'f.png'))\n"
            "plt.close()\n"
            "print(os.path.exists('f.png'), os.path.exists(os.path.dirname(__file__) + '/f.png'))\n"
        ),
        "False True\n\n[Files: created f.png]",
    ),
    "a value that cannot be formatted": Row(
        "class A:\n    def __repr__(self): return 1 / 0\nA()\n",
        "<A object, whose repr() fails with ZeroDivisionError: division by zero>\n",
    ),
    "whose text is none": Row(
        "class A:\n    def __repr__(self): return 3\nA()\n",
        "<A object, whose repr() fails with TypeError: __repr__ returned non-string (type int)>\n",
    ),
    "that exits": Row(
        "class A:\n    def __repr__(self): raise SystemExit(3)\nA()\n",
        "<A object, whose repr() fails with SystemExit: 3>\n",
    ),
    "whose HTML fails": Row(
        "class A:\n    def __repr__(self): return 'A!'\n    def _repr_html_(self): return 1 / 0\nA()\n", "A!\n"
    ),
    "in a list": Row(
        "class A:\n    def __repr__(self): raise ValueError('no')\n[A()]\n",
        "<list object, whose repr() fails with ValueError: no>\n",
    ),
    "displayed": Row(
        "class A:\n    def __repr__(self): raise ValueError('no')\ndisplay(A())\n",
        "<A object, whose repr() fails with ValueError: no>\n",
    ),
    "no history": Row("print([name for name in ('_', '__', 'In', 'Out', '_i', '_1') if name in globals()])\n", "[]\n"),
    "a name of its own": Row("_ = 5\n1 + 1\n", "2\n"),
    "is kept": Row("_\n", "5\n"),
    "and can go": Row("del _\n", "(no output)"),
}
