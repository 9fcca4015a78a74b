"""A warm library is as if it had just been imported."""

from __future__ import annotations

import subprocess

from sandbox_image import own_pages
from tests.sandbox_image.zygote import ROOT, Zygote

#: What a program could look at, before and after. Of matplotlib 3.8 ``backends`` is imported by the first figure only.
_LOOK = """
import gc, json, os, sys, warnings
import matplotlib, numpy, pandas
import matplotlib.pyplot as plt
from sandbox_image.first_uses import warm_up

def look():
    return [
        plt.get_fignums(), repr(dict(matplotlib.rcParams)), repr(numpy.random.get_state()), repr(warnings.filters),
        pandas.describe_option(_print_desc=False), sorted(vars(matplotlib).keys() - {"backends"}),
        sorted(vars(plt)), sorted(vars(pandas)),
        sorted(name for name, module in sys.modules.items() if getattr(module, "__warningregistry__", None)),
    ]

before = look()
notes = warm_up()
gc.collect()
fonts = [fd for fd in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{fd}").endswith(".ttf")]
print(json.dumps([notes, fonts, before == look(), "matplotlib.backends.backend_agg" in sys.modules]))
"""


def test_libraries_are_used_without_a_trace(rich_zygote: Zygote) -> None:
    done = subprocess.run(
        [rich_zygote.python, "-c", _LOOK],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"MPLBACKEND": "Agg"},
        check=True,
    )
    assert done.stdout == "[[], [], true, true]\n"
    assert done.stderr == ""


def test_they_are_used_again_for_what_they_write_to(rich_zygote: Zygote) -> None:
    script = "from sandbox_image import first_uses, own_pages\nimport pandas, matplotlib.pyplot\nfirst_uses.warm_up()\n"
    script += "print(sum(size for _, size in own_pages.learn(first_uses.again())) >> 12)"
    done = subprocess.run([rich_zygote.python, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 1000 < int(done.stdout) <= own_pages.MAX_PAGES
    assert done.stderr == ""
