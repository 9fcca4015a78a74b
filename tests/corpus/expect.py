"""``python -m tests.corpus.expect [--check]``: what the programs print and raise, written into the manifest.

Each is run by plain CPython on a set of libraries, by default ``core`` as ``make install`` has made it. ``--check`` only
tells what differs from the manifest, with exit status 1.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.backends import SANDBOX_ENV

FOLDER = Path(__file__).parent
MANIFEST = FOLDER / "manifest.jsonl"
#: Tables are written as in a session (README, "Sandboxes"); nothing else is.
_SITECUSTOMIZE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from sandbox_image.display import show_all_columns
from sandbox_image.imports import ImportWatch
del sys.path[0]
ImportWatch({{"pandas": show_all_columns}})
"""
_SITE_PACKAGES = re.compile(r"/\S*/site-packages")


def expect(entry: dict[str, Any], python: Path) -> dict[str, Any]:
    """The entry with the fields that belong to the libraries."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as customs:
        Path(customs, "sitecustomize.py").write_text(_SITECUSTOMIZE)
        for name in entry["data"]:
            shutil.copy(FOLDER / "data" / name, folder)
        before = set(os.listdir(folder))
        program = FOLDER / entry["program"]
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "MPLBACKEND": "Agg", "LANG": "C.UTF-8"}
        environment["PYTHONPATH"] = customs
        environment["MPLCONFIGDIR"] = environment["XDG_CACHE_HOME"] = tempfile.gettempdir()
        done = subprocess.run(
            [python.absolute(), program], cwd=folder, env=environment, capture_output=True, timeout=120, check=False
        )
        written = sorted(set(os.listdir(folder)) - before)
    said = done.stderr.decode()
    source = program.read_text()
    entry = entry | {
        "n_chars": len(source),
        "n_tokens_4c": -(-len(source) // 4),
        "exit_code": done.returncode,
        "stdout_sha256": hashlib.sha256(done.stdout).hexdigest(),
        "stdout_bytes": len(done.stdout),
        "stderr_nonempty": done.returncode == 0 and bool(said),
        "files_written": written,
    }
    if entry["kind"] != "syntax_error":
        entry["stdout"] = done.stdout.decode()
    if (done.returncode == 0) != (entry["kind"] == "ok"):
        raise SystemExit(f"{entry['id']} is to be of the kind {entry['kind']}, and ended with {done.returncode}\n{said}")
    if done.returncode:
        entry |= _exception(said, program)
    if entry["kind"] == "error":
        entry["error_position"] = round(_end_of_statement(source, entry["exception_top_level_line"]) / len(source), 3)
    return entry


def _end_of_statement(source: str, line: int) -> int:
    """Where the statement at the top level that holds the line has been written, with its newline."""
    statement = next(node for node in ast.parse(source).body if node.lineno <= line <= (node.end_lineno or line))
    return sum(map(len, source.splitlines(keepends=True)[: statement.end_lineno]))


def _exception(traceback: str, program: Path) -> dict[str, Any]:
    lines = [int(line) for line in re.findall(rf'File "{re.escape(str(program))}", line (\d+)', traceback)]
    kind, _, message = traceback.rstrip("\n").rpartition("\n")[2].partition(": ")
    return {
        "exception": kind,
        "exception_message": _SITE_PACKAGES.sub("SITE_PACKAGES", message),
        "exception_line": lines[-1],
        "exception_top_level_line": lines[0],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=SANDBOX_ENV, help="of a set's environment (%(default)s)")
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    old = [json.loads(line) for line in MANIFEST.read_text().splitlines()]
    new = [expect(entry, options.python) for entry in old]
    differing = [after for before, after in zip(old, new, strict=True) if before != after]
    for entry in differing:
        print(f"{entry['id']}: {'differs' if options.check else 'changed'}")
    if not options.check:
        MANIFEST.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in new))
    return int(options.check and bool(differing))


if __name__ == "__main__":
    sys.exit(main())
