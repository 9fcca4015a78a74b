# ruff: noqa: E501
"""``python -m tests.sandbox_image.notebook``: small programs as cells of IPython with its inline backend, and here.
What they print, the value they end with and how many pictures they show is compared; exit status 1 if any differs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.sandbox_image.zygote import SANDBOX_PYTHON, Interpreter, Zygote

#: Runs each program in a shell of its own folder; tells what was printed, shown and the kinds of pictures.
_REFERENCE = """
import json, os, sys, tempfile
from IPython.core import pylabtools
pylabtools.backend2gui = getattr(pylabtools, "backend2gui", {})
import pandas
pandas.set_option("display.max_columns", 60)
pandas.set_option("display.width", 120)
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
shell = InteractiveShell.instance(colors="nocolor")
import matplotlib.pyplot
from matplotlib_inline.backend_inline import configure_inline_support, flush_figures
from matplotlib_inline.config import InlineBackend
configure_inline_support(shell, "module://matplotlib_inline.backend_inline")
found = []
for code in json.load(sys.stdin):
    os.chdir(tempfile.mkdtemp())
    with capture_output() as captured:
        done = shell.run_cell(code, store_history=False)
        flush_figures()
    value = None if done.result is None or code.rstrip().endswith(";") else done.result
    data = {} if value is None else shell.display_formatter.format(value)[0]
    outputs = [output.data for output in captured.outputs]
    pictures = sum("image/png" in data for data in outputs)
    printed = captured.stdout
    found.append([printed, data.get("text/plain"), pictures, bool(done.error_in_exec)])
    matplotlib.pyplot.close("all")
    shell.reset(new_session=False)
json.dump(found, sys.__stdout__)
"""
_ADDRESS = re.compile(r"(?: object)? at 0x[0-9a-f]+")
PLT = "import matplotlib.pyplot as plt\nimport numpy as np\n"
PD = "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2, 3], 'b': [1.5, None, 2], 'c': list('xyz')})\n"

DRAWINGS = (
    """
plt.plot([1, 2])|plt.bar(['a', 'b'], [1, 2])|plt.hist([1, 2, 2])|plt.scatter([1, 2], [1, 2])|plt.pie([1, 2])
plt.boxplot([1, 2, 3])|plt.imshow(np.eye(3))|plt.contour(np.eye(3))|plt.stem([1, 2])|plt.fill_between([1, 2], [1, 2])
plt.errorbar([1], [1], yerr=[1])|plt.step([1, 2], [1, 2])|plt.violinplot([1, 2, 3])|plt.subplots(2)[1][0].plot([1])
plt.figure(); plt.polar([1, 2], [1, 2])|plt.barh(['a'], [1])
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
ENDS = ("plt.show()", "plt.close()", "print(len(plt.get_fignums()))", "plt.show()\nplt.plot([3])\nplt.show()")
TABLES = (
    """
df|df.head(1)|df.describe()|df.dtypes|df['a']|df['c'].value_counts()|df.shape|df.columns|df.index|df.isna().sum()|df.T
df.groupby('c')['a'].sum()|df.corr(numeric_only=True)|df.to_dict()|df.values|df.iloc[0]|df.loc[0, 'a']|df.empty
df.mean(numeric_only=True)|df.sort_values('a', ascending=False)|df.query('a > 1')|df.drop(columns='b')|df.fillna(0)|df.to_csv()|df.memory_usage()
pd.DataFrame({f'column_{i}': [i] for i in range(24)})|pd.DataFrame(np.arange(200).reshape(100, 2))|pd.Series([1, 2])
pd.concat([df, df])|pd.crosstab(df['a'], df['c'])|pd.date_range('2024', periods=3)|pd.Timestamp('2024')|df.info()
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
VALUES = (
    """
1 + 1|'text'|None|[1, 2]|{'a': 1}|(1,)|{1}|1.5|1j|b'x'|True|range(3)|...|[]|{}|''|'a\\nb'|list(range(30))|print|int|abs(-1)
print('x')|print('x', end='')|print(1, 2, sep='-')|x = 1|x = 1; x|import math; math.pi|f'{1:03d}'|sorted('ba')|type(1)
max([1, 2])|sum(range(5))|'a'.upper()|[i for i in range(3)]|{i: i for i in range(2)}|(lambda: 3)()|not 1|1 == 1|10 ** 20
__import__('fractions').Fraction(1, 2)|__import__('decimal').Decimal('1.0')|__import__('datetime').date(2024, 1, 1)
__import__('pathlib').Path('x')|__import__('collections').Counter('aab')|__import__('collections').OrderedDict(a=1)
open('f', 'w').write('x')|import os; os.listdir()|import os; os.mkdir('d'); os.listdir()|np.arange(3)|np.eye(2)
np.float64(1.5)|np.array(['a'])|__import__('json').dumps({'a': 1})|'é😀'|'%d' % 3|print('é')|print()|1 / 0|undefined
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


#: Whole cells; `` ⏎ `` is a line break.
CELLS = (
    (
        r"""
for i in range(3): plt.figure(); plt.plot([i]); plt.show()
for i in range(3): ⏎  fig, ax = plt.subplots() ⏎  ax.plot([i])
fig, ax = plt.subplots() ⏎ ax.plot([1]); ⏎ fig
fig, ax = plt.subplots() ⏎ ax.plot([1]) ⏎ display(fig) ⏎ plt.close()
fig, axs = plt.subplots(2, 2) ⏎ for a in axs.flat: a.plot([1]) ⏎ plt.show() ⏎ plt.get_fignums()
plt.plot([1]); plt.savefig('f.png'); plt.show(); print(__import__('os').listdir())
plt.plot([1]) ⏎ plt.close('all') ⏎ print('closed')
def f(d): plt.bar([1], d); plt.show() ⏎ f([1]); f([2])
df['a'].plot(); plt.show()
df.plot(x='a', y='b', kind='scatter'); plt.show()
df.hist(); plt.show(); len(plt.get_fignums())
df.boxplot(column='a'); plt.show()
df.groupby('c')['a'].sum().plot(kind='pie'); plt.show()
import seaborn as sns ⏎ sns.heatmap(np.eye(3)); plt.show()
import seaborn as sns ⏎ g = sns.pairplot(df[['a', 'b']].dropna()); plt.show()
import seaborn as sns ⏎ sns.set_theme() ⏎ for c in 'ab': sns.histplot(df[c]); plt.show()
from PIL import Image ⏎ Image.new('RGB', (4, 4))
from PIL import Image ⏎ display(Image.new('RGB', (4, 4)), Image.new('L', (4, 4)))
from IPython.display import Image, display ⏎ plt.plot([1]); plt.savefig('p.png'); plt.close() ⏎ display(Image('p.png'))
display(df); print('after')
display(1, 'two', [3])
print('before'); df.head(2)
df.head(1); df.tail(1)
x = 1 ⏎ x
x = 1; x;
if True: ⏎     df
for i in range(2): i
!echo shell
out = !printf 'a\nb' ⏎ out
name = 'x' ⏎ !echo {name} $name
%cd . ⏎ 1
%pwd
%env NB=1 ⏎ import os; os.environ['NB']
%%capture c ⏎ print('hidden')
%%writefile m.py ⏎ x = 1
%%bash ⏎ echo from bash
%matplotlib inline ⏎ plt.plot([1]); plt.show()
%config InlineBackend.figure_format = 'png' ⏎ plt.plot([1]);
%%time ⏎ pass
import asyncio ⏎ await asyncio.sleep(0) ⏎ 'awaited'
async def f(): return 5 ⏎ await f()
try: ⏎     1 / 0 ⏎ except ZeroDivisionError as e: ⏎     print(e)
print('a'); undefined_name
df['nosuch']
"""
    )
    .strip()
    .split("\n")
)


def programs() -> Iterator[str]:
    for cell in CELLS:
        head = "" if cell.startswith("%%") else PLT + PD
        yield head + cell.replace(" ⏎ ", "\n") + "\n"
    for drawing in DRAWINGS:
        for end in ENDS:
            yield f"{PLT}{drawing};\n{end}\n"
    yield from (f"{PD}import numpy as np\n{table}\n" for table in TABLES)
    yield from (f"import numpy as np\n{value}\n" for value in VALUES)


def reference(codes: list[str]) -> list[list[Any]]:
    done = subprocess.run(
        [SANDBOX_PYTHON, "-W", "ignore", "-c", _REFERENCE], input=json.dumps(codes), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: list[list[Any]] = json.loads(done.stdout)
    return found


def here(session: Interpreter, code: str) -> list[Any]:
    turn = session.run(code)
    pictures = sum("image/png" in message["data"] for message in turn.of("display"))
    return [turn.stdout, turn.result, pictures, turn.error is not None]


def main() -> int:
    codes = list(programs())
    differing = 0
    with closing(
        Zygote(str(SANDBOX_PYTHON), preload=("pandas", "matplotlib.pyplot", "IPython.core.interactiveshell"))
    ) as zygote:
        for code, there in zip(codes, reference(codes), strict=True):
            with tempfile.TemporaryDirectory() as folder, closing(zygote.start(Path(folder))) as session:
                ours = here(session, code)
            printed, value, pictures, failed = there
            # IPython prints the value it ends with, and the traceback, where we tell them by messages.
            if failed:
                printed = ours[0]
            elif value is not None:
                printed = re.sub(r"(?:\AOut\[\d*\]: )?", "", printed.removesuffix("\n").removesuffix(value))
            same = [_ADDRESS.sub("", str(part)).strip() for part in ours] == [
                _ADDRESS.sub("", str(part)).strip() for part in (printed, value, pictures, failed)
            ]
            if not same:
                differing += 1
                print(f"--- {code}IPython: {there}\nhere:    {ours}")
    print(f"{len(codes)} programs, {differing} differ")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
