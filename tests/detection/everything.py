"""The whole differential: every CPython >= 3.11 of this machine against every Python file of this machine.

    python -m tests.detection.everything [--jobs 1] [--only 3.12] [--kinds files,damaged] [--anew] [FOLDER ...]

Nothing is sampled: each file once, by its content, of this environment, the sandbox's, every CPython of pyenv (the old
ones have old syntax) and the system; whole, damaged, cut off, with other white space; and 200,000 generated programs,
as many again with lines of IPython. It takes hours of one core, and goes on where it was stopped, as long as nothing in
app/detection and in here has changed. The exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tests.detection.differential import GENERATED, KINDS

ROOT = Path(__file__).parents[2]
MINORS = (11, 12, 13, 14)
SEED = 1
PROGRAMS = 200_000
#: Work is cut into this many pieces, so that all jobs end at about the same time.
_SHARDS = 16
#: What has been compared, and over which files.
RESULTS = ROOT / ".eager" / "differential"
_OURS = ("app", "sandbox_image", "loadtests", "tests")
_PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"


def interpreter(minor: int) -> str | None:
    """CPython 3.``minor``: this one, installed by pyenv, on the PATH, or made by scripts/cpython."""
    if sys.version_info[1] == minor:
        return sys.executable
    candidates = [
        *map(str, sorted(_PYENV.glob(f"3.{minor}.*/bin/python"))),
        shutil.which(f"python3.{minor}"),
        str(ROOT / ".eager" / f"cpython-3.{minor}" / "bin" / "python"),
    ]
    for candidate in filter(None, map(shutil.which, filter(None, candidates))):
        answer = subprocess.run([candidate, "-c", "import sys; print(sys.version_info[1])"], capture_output=True)
        if answer.stdout.split() == [str(minor).encode()]:
            return candidate
    return None


def folders() -> list[Path]:
    """Of all environments: the newest CPythons first, those of before 3.11 last."""
    pyenv = sorted(_PYENV.glob("3.1[1-9]*"), reverse=True) + sorted(_PYENV.glob("[23].*"), reverse=True)
    system = [*Path("/usr/lib").glob("python3*"), *Path("/usr/local/lib").glob("python3*")]
    return [
        Path(sys.prefix),
        Path(sys.base_prefix),
        ROOT / ".eager" / "sandbox-env",
        *pyenv,
        *system,
        *(ROOT / name for name in _OURS),
    ]


def files(roots: list[Path]) -> Iterator[Path]:
    """Each content once."""
    seen: set[bytes] = set()
    for root in roots:
        for path in sorted(root.rglob("*.py")):
            if path.is_file() and (digest := hashlib.sha1(path.read_bytes()).digest()) not in seen:
                seen.add(digest)
                yield path


def compare(python: str, kind: str, list_of_files: Path, shard: str = "0/1") -> dict[str, Any]:
    """What ``tests.detection.differential`` prints, run by that interpreter."""
    count = str(PROGRAMS if kind in GENERATED else 0)
    command = [python, "-m", "tests.detection.differential", kind, str(SEED), count, str(list_of_files)]
    done = subprocess.run([*command, "--shard", shard], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


class Results:
    """What was found, by interpreter, kind and shard; empty unless it was found with the code of today."""

    def __init__(self, folder: Path, roots: list[Path], *, anew: bool) -> None:
        self._state = {"code": _code(), "roots": sorted(map(str, roots)), "seed": SEED, "programs": PROGRAMS}
        self.list_of_files = folder / "files.txt"
        self._found = folder / "results.jsonl"
        state = folder / "state.json"
        if anew or not state.exists() or json.loads(state.read_text()) != self._state:
            folder.mkdir(parents=True, exist_ok=True)
            state.unlink(missing_ok=True)
            self.list_of_files.write_text("\n".join(map(str, files(roots))))
            self._found.write_text("")
            state.write_text(json.dumps(self._state))
        self._lock = threading.Lock()
        self._known: dict[tuple[Any, ...], dict[str, Any]] = {
            tuple(line["of"]): line["result"] for line in map(json.loads, self._found.read_text().splitlines())
        }

    def compare(self, minor: int, python: str, kind: str, shard: str) -> dict[str, Any]:
        """As ``compare``, now or earlier."""
        of = (minor, kind, shard)
        if of not in self._known:
            self._known[of] = compare(python, kind, self.list_of_files, shard)
            with self._lock, self._found.open("a") as found:
                print(json.dumps({"of": of, "result": self._known[of]}), file=found, flush=True)
        return self._known[of]


def _code() -> str:
    sources = sorted([*(ROOT / "app" / "detection").glob("*.py"), *(ROOT / "tests" / "detection").glob("*.py")])
    return hashlib.sha1(b"".join(path.read_bytes() for path in sources)).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default=",".join(f"3.{minor}" for minor in MINORS))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--anew", action="store_true")
    parser.add_argument("folders", nargs="*", type=Path)
    options = parser.parse_args()
    minors = [int(version.partition(".")[2]) for version in options.only.split(",")]
    pythons = {minor: python for minor in minors if (python := interpreter(minor))}
    found = Results(RESULTS, options.folders or folders(), anew=options.anew)
    print(f"{found.list_of_files}; CPython {', '.join(f'3.{minor}' for minor in pythons)}", flush=True)
    differences = 0
    with ThreadPoolExecutor(options.jobs) as jobs:
        for kind in options.kinds.split(","):
            for minor, python in pythons.items():
                shards = [f"{number}/{_SHARDS}" for number in range(_SHARDS)]
                work = [jobs.submit(found.compare, minor, python, kind, shard) for shard in shards]
                results = []
                for done in as_completed(work):
                    results.append(done.result())
                    texts, wrong = results[-1]["compared"], len(results[-1]["differences"])
                    print(f"  {len(results)}/{_SHARDS} {texts} {wrong}", end="\r", file=sys.stderr, flush=True)
                differences += _report(f"3.{minor}", kind, results)
    return 1 if differences else 0


def _report(version: str, kind: str, results: list[dict[str, Any]]) -> int:
    total = {key: sum(result[key] for result in results) for key in ("compared", "valid", "characters")}
    skipped = [name for result in results for name in result["skipped"]]
    differences = [text for result in results for text in result["differences"]]
    print(
        f"{version} {kind:10} {total['compared']:>7} compared, {total['valid']:>7} valid, "
        f"{total['characters'] / 1e6:6.1f} MB, {len(skipped)} not comparable, {len(differences)} differences",
        *[f"    not comparable (nested too deeply for this interpreter): {name}" for name in skipped],
        *[f"    {text}" for text in differences],
        sep="\n",
        flush=True,
    )
    return len(differences)


if __name__ == "__main__":
    sys.exit(main())
