"""``python -m tests.sandbox_image.set_smoke --set full [--python PYTHON | --image IMAGE]``: a set of libraries in a
real sandbox. All of it is imported, and figures have text in five scripts. Exit status 1, and what failed, if anything
did.

For an environment: ``eager sandbox install --set full --folder F``, then ``--python F/bin/python``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from pathlib import Path

from app.sandbox.docker.backend import DockerBackend
from app.sandbox.library_sets import SANDBOX_FILES
from app.sandbox.limits import SandboxLimits
from app.sandbox.local.backend import LocalBackend
from app.sandbox.local.environment import inspect_python
from tests.backends import SANDBOX_ENV
from tests.sandbox.backends import printed
from tests.sandbox.fakes import Recorder, chunks_of, run

#: All of `full` in one process.
_MEMORY_BYTES = 6 << 30
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
#: Come with a library, and work with another one beside it only.
_OPTIONAL = ("adbc_driver_duckdb",)
#: Runs in the sandbox. ``NAMES`` are distributions; their modules are known by what they have installed.
_PROGRAM = """
import importlib, io, json, re, warnings
from importlib import metadata
def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()
modules = {}
for module, distributions in metadata.packages_distributions().items():
    for name in distributions:
        modules.setdefault(plain(name), set()).add(module)
failed = {}
for name in NAMES:
    found = [module for module in sorted(modules.get(plain(name), ())) if module.isidentifier() and module[0] != "_"]
    found = [module for module in found if module not in OPTIONAL]
    if not found:
        failed[name] = "not installed"
    for module in found:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module(module)
        except BaseException as error:
            failed[module] = f"{type(error).__name__}: {error}"
import matplotlib.pyplot as plt
plt.rcdefaults()
texts = ["Größe Ελλάδα Россия", "销售额 売上高 매출", "\\u0645\\u0631\\u062d", "\\u0928\\u092e", "\\U0001f600"]
pictures = set()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for text in texts:
        figure = plt.figure(figsize=(4, 1))
        figure.text(0.1, 0.5, text)
        file = io.BytesIO()
        figure.savefig(file, format="png")
        pictures.add(file.getvalue())
        plt.close(figure)
failed |= {"fonts": str(warning.message) for warning in caught if "Glyph" in str(warning.message)}
if len(pictures) != len(texts):
    failed["fonts"] = "texts look alike"
print(json.dumps(failed))
"""


#: What libraries show without a browser, and as what.
_SHOWN = {
    "altair": (
        "import altair as alt\ndisplay(alt.Chart({'values': [{'a': 1}]}).mark_bar().encode(x='a:Q'))\n",
        "vegalite",
    ),
    "vl-convert-python": ("import altair as alt\ndisplay(alt.Chart({'values': [{'a': 1}]}).mark_bar())\n", "image/png"),
    "plotly": ("import plotly.express as px\npx.bar(x=['a'], y=[1]).show()\n", "plotly"),
    "bokeh": (
        "from bokeh.plotting import figure, show\np = figure(title='T')\np.line([1, 2], [3, 4])\nshow(p)\n",
        "[bokeh chart 'T', shown where HTML can be]\\n- Line of 2 rows",
    ),
    "folium": ("import folium\ndisplay(folium.Map())\n", "text/html"),
    "wordcloud": ("from wordcloud import WordCloud\ndisplay(WordCloud().generate('a b').to_image())\n", "image/png"),
}


def distributions(library_set: str) -> list[str]:
    """What the set asks for by name."""
    file = "core" if library_set == "core" else "full"  # `latest` is `full` without pins
    names = []
    for line in (SANDBOX_FILES / "sets" / f"{file}.in").read_text().splitlines():
        if line.startswith("-r "):
            names += distributions(line.removeprefix("-r ").removesuffix(".in"))
        elif match := _NAME.match(line):
            names.append(match[0])
    return names


async def failures(backend: LocalBackend | DockerBackend, library_set: str) -> dict[str, str]:
    """By module or distribution; ``fonts`` for what cannot be drawn."""
    worker = await backend.start()
    try:
        names = distributions(library_set)
        said = await printed(worker, f"NAMES, OPTIONAL = {names!r}, {_OPTIONAL!r}\n{_PROGRAM}")
        found: dict[str, str] = json.loads(said.splitlines()[-1])
        for name in _SHOWN.keys() & set(names):
            code, sign = _SHOWN[name]
            sink = Recorder()
            await run(worker, chunks_of(code), sink, timeout_s=60)
            if sign not in repr(sink.messages):
                found[f"{name} shows"] = repr(sink.messages)[:300]
    finally:
        await worker.close()
        await backend.close()
    return found


def local(python: Path) -> LocalBackend:
    return LocalBackend(inspect_python(python), limits=SandboxLimits(memory_bytes=_MEMORY_BYTES))


def docker(image: str) -> DockerBackend:
    return DockerBackend(image=image, limits=SandboxLimits(memory_bytes=_MEMORY_BYTES))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", required=True, choices=["core", "full", "latest"])
    parser.add_argument("--python", type=Path, default=SANDBOX_ENV, help="of the set's environment (%(default)s)")
    parser.add_argument("--image", help="or an image with the set")
    options = parser.parse_args()
    backend = docker(options.image) if options.image else local(options.python)
    found = asyncio.run(failures(backend, options.set))
    for name, reason in found.items():
        print(f"{name}: {reason}")
    print(f"{len(distributions(options.set))} libraries, {len(found)} fail")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
