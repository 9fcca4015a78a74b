"""Checkpoint, commit and rollback of a real interpreter under a real supervisor."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox_image.protocol import INTERPRETER
from sandbox_image.snapshot import MAX_BYTES, MAX_ENTRIES
from tests.sandbox_image.supervised import PATIENCE_S, SUPERVISOR, Supervised


class Session:
    """Executes each piece of code as a block of its own."""

    def __init__(self, supervised: Supervised) -> None:
        self.supervised = supervised
        self.number = 0
        assert supervised.message()["t"] == "ready"

    def execute(self, code: str) -> None:
        self.number += 1
        chunks = [[0, 1, 0, code]]
        message = {"op": "execute", "id": self.number, "block": f"b{self.number}", "language": "python"}
        self.supervised.send(INTERPRETER, {**message, "chunks": chunks, "final": True})

    def run(self, code: str) -> str:
        self.execute(code)
        done, out, err, _ = self.supervised.until("done")
        assert (done["status"], err) == ("ok", ""), (done, err)
        return out

    def ask(self, op: str) -> dict[str, Any]:
        self.number += 1
        self.supervised.control(op=op, id=self.number)
        answer, out, err, before = self.supervised.until("snapshot")
        assert (answer["id"], out, err, before) == (self.number, "", "", [])
        return answer

    def succeed(self, op: str) -> None:
        assert self.ask(op)["error"] is None

    def refusal(self) -> str:
        answer = self.ask("checkpoint")
        assert not answer["ok"]
        assert len(self.supervised.children()) <= 2  # no copy is left, whatever the program started
        return str(answer["error"])


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Supervised(tmp_path, program=SUPERVISOR) as supervised:
        yield Session(supervised)


def test_after_a_rollback_the_block_has_never_run(session: Session) -> None:
    session.run(
        "import os, random, sys\nx = [1]\nrandom.seed(5)\nnumbers = random.Random(5)\nsys.setrecursionlimit(900)\n"
    )
    session.succeed("checkpoint")
    session.run("x.append(2)\ny = 3\nrandom.random()\nos.environ['NEW'] = '1'\nos.chdir('/')\nos.umask(0o77)\n")
    session.succeed("rollback")
    code = "print(x, 'y' in globals(), 'NEW' in os.environ, os.getcwd() == os.environ['HOME'], oct(os.umask(0o22)))\n"
    assert session.run(code) == "[1] False False True 0o22\n"
    assert session.run("print(random.random() == numbers.random(), sys.getrecursionlimit())\n") == "True 900\n"
    assert len(session.supervised.children()) == 1


def test_after_a_rollback_the_program_is_in_its_folder_which_is_there_again(session: Session) -> None:
    session.run("import os, shutil\nos.mkdir('sub')\nos.chdir('sub')\nopen('a', 'w').close()\n")
    session.succeed("checkpoint")
    session.run("os.chdir('..')\nshutil.rmtree('sub')\n")
    session.succeed("rollback")
    assert session.run("print(os.path.basename(os.getcwd()), os.listdir())\n") == "sub ['a']\n"


@pytest.mark.parametrize(
    "opening",
    ["os.memfd_create('x')", "os.open('x', os.O_CREAT | os.O_RDWR); os.remove('x')"],
    ids=["memory", "removed"],
)
def test_a_file_without_a_name_bars_checkpoints(session: Session, opening: str) -> None:
    session.run(f"import os\nfd = {opening}\n")
    assert session.refusal() == "a file without a name is open"
    session.run("os.close(fd)\n")
    session.succeed("checkpoint")


def test_what_was_committed_stays_and_the_process_is_the_same(session: Session) -> None:
    pid = session.run("import os\nx = 1\nprint(os.getpid())\n")
    session.succeed("checkpoint")
    assert session.run("x = 2\nprint(os.getpid())\n") == pid
    session.succeed("commit")
    assert session.run("print(x)\n") == "2\n"
    assert session.supervised.children() == [int(pid)]
    assert not session.ask("rollback")["ok"]
    assert session.run("print(x)\n") == "2\n"


def test_a_program_does_not_see_the_copy(session: Session) -> None:
    session.succeed("checkpoint")
    code = "import os\ntry:\n    os.wait()\nexcept ChildProcessError:\n    print('none')\n"
    assert session.run(code) == "none\n"


def test_a_copy_takes_checkpoints_in_its_turn(session: Session) -> None:
    session.run("x = 0\n")
    for n in range(3):
        session.succeed("checkpoint")
        session.run("x += 100\n")
        session.succeed("rollback")
        session.run(f"assert x == {n}\nx += 1\n")
    assert session.run("print(x)\n") == "3\n"


def test_a_second_checkpoint_takes_the_place_of_the_first(session: Session) -> None:
    session.succeed("checkpoint")
    session.run("x = 1\n")
    session.succeed("checkpoint")
    session.run("x = 2\n")
    assert len(session.supervised.children()) == 2
    session.succeed("rollback")
    assert session.run("print(x)\n") == "1\n"


@pytest.mark.parametrize("code", ["import os\nos.kill(os.getpid(), 9)\n", "import os\nos._exit(3)\n"])
def test_an_interpreter_that_died_is_replaced_by_its_copy(session: Session, code: str) -> None:
    session.run("x = 1\n")
    session.succeed("checkpoint")
    session.execute(code)
    _, _, _, before = session.supervised.until("ready")
    assert [message["t"] for message in before] == ["lost"]
    session.succeed("rollback")
    assert session.run("print(x)\n") == "1\n"
    assert len(session.supervised.children()) == 1


def test_a_fresh_interpreter_beside_a_copy_takes_checkpoints_of_its_own(session: Session) -> None:
    session.succeed("checkpoint")
    session.execute("import os\nos._exit(3)\n")
    session.supervised.until("ready")
    session.run("x = 1\n")
    session.succeed("commit")
    session.succeed("checkpoint")
    session.run("x = 2\n")
    session.succeed("rollback")
    assert session.run("print(x)\n") == "1\n"


def test_a_reset_leaves_the_copy_to_go_back_to(session: Session) -> None:
    session.run("x = 1\n")
    session.succeed("checkpoint")
    session.execute("import time\ntime.sleep(1000)\n")
    session.supervised.control(op="reset")
    session.supervised.until("ready")
    session.succeed("rollback")
    assert session.run("print(x)\n") == "1\n"


def test_processes_and_threads_of_the_block_end_with_it(session: Session) -> None:
    session.succeed("checkpoint")
    session.run(
        "import os, subprocess, threading, time\nsleeper = subprocess.Popen(['sleep', '1000'])\n"
        "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
        "subprocess.run(['sh', '-c', 'setsid sleep 1000 &'])\n"
    )
    session.succeed("rollback")
    assert len(session.supervised.children()) == 1
    assert session.run("print('sleeper' in globals())\n") == "False\n"


def test_a_copy_that_the_program_killed_cannot_be_gone_back_to(session: Session) -> None:
    session.succeed("checkpoint")
    (copy,) = set(session.supervised.children()) - {int(session.run("import os\nprint(os.getpid())\n"))}
    death = os.pidfd_open(copy)
    session.run(f"x = 1\nos.kill({copy}, 9)\n")
    assert select.select([death], [], [], PATIENCE_S)[0]
    os.close(death)
    answer = session.ask("rollback")
    assert not answer["ok"]
    assert "killed" in answer["error"]
    assert session.run("print(x)\n") == "1\n"


def test_the_source_of_a_block_that_never_was_is_not_shown_as_that_of_the_next(session: Session) -> None:
    session.succeed("checkpoint")
    session.run("def gone():\n    return 1\n")
    session.succeed("rollback")
    session.run("def here():\n    return 2\n")
    assert session.run("import inspect\nprint(inspect.getsource(here))\n") == "def here():\n    return 2\n\n"


def test_figures_bash_and_interrupts_work_in_the_copy(session: Session) -> None:
    session.succeed("checkpoint")
    session.run("x = 1\n")
    session.succeed("rollback")
    session.execute("print('on', flush=True)\nimport time\ntime.sleep(1000)\n")
    assert session.supervised.frame() == (1, b"on\n")
    session.supervised.control(op="interrupt", id=session.number)
    assert session.supervised.until("done")[0]["status"] == "interrupted"
    assert (
        session.run("import subprocess\nprint(subprocess.run(['echo', 'a'], capture_output=True).stdout)\n")
        == "b'a\\n'\n"
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import threading\nhold = threading.Event()\nthreading.Thread(target=hold.wait).start()\n", "threads"),
        ("import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\n", "child processes"),
        ("import os\nif not os.fork():\n    os._exit(0)\n", "child processes"),
        ("import subprocess\nsubprocess.run(['sh', '-c', 'setsid sleep 1000 >/dev/null &'])\n", "left behind"),
        ("import socket\npair = socket.socketpair()\n", "socket"),
        ("import os\npipe = os.pipe()\n", "pipe"),
        ("import select\npoll = select.epoll()\n", "event descriptor"),
        ("import mmap\nshared = mmap.mmap(-1, 4096)\n", "shared"),
        ("import signal\nsignal.setitimer(signal.ITIMER_REAL, 1000)\n", "timer"),
        ("import signal\nsignal.signal(signal.SIGCHLD, lambda *_: None)\n", "SIGCHLD"),
    ],
)
def test_a_program_that_fork_cannot_copy_is_refused(session: Session, code: str, reason: str) -> None:
    session.run(code)
    assert reason in session.refusal()
    assert session.run("print(1)\n") == "1\n"


# Files.


def tree(folder: Path) -> dict[str, tuple[int, str | bytes | None, int]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (status.st_mode, content, 0 if path.is_symlink() else status.st_mtime_ns)
    return found


PREPARE = """
import os, shutil
os.makedirs('a/b')
for name in ('kept', 'changed', 'a/b/deep', 'moved', 'turned'):
    open(name, 'w').write('old')
open('removed', 'w').write('r' * 200_000)
os.chmod('kept', 0o640)
os.symlink('kept', 'link')
os.symlink('/etc', 'elsewhere')
os.mkdir('empty', 0o750)
"""
WRECK = """
open('changed', 'w').write('something new')
os.remove('removed')
os.chmod('kept', 0o400)
os.utime('kept', (1, 1))
os.rename('moved', 'a/moved')
shutil.rmtree('a/b')
os.remove('link')
os.symlink('/etc/passwd', 'link')
os.remove('turned')
os.makedirs('turned/x/y')
os.chmod('turned/x', 0)
os.rmdir('empty')
open('empty', 'w').write('a file now')
os.symlink('/etc', 'new_link')
deep = 'n'
os.mkdir(deep)
os.chdir(deep)
for _ in range(1200):
    os.mkdir(deep)
    os.chdir(deep)
os.chmod(os.environ['HOME'], 0o500)
"""


def test_files_are_as_they_were(session: Session, tmp_path: Path) -> None:
    session.run(PREPARE)
    before = tree(tmp_path)
    session.succeed("checkpoint")
    session.run(WRECK)
    session.succeed("rollback")
    assert tree(tmp_path) == before
    assert session.run("print(open('changed').read(), os.path.exists('/etc/passwd'))\n") == "old True\n"


def test_a_file_held_open_is_the_same_file_at_the_same_place(session: Session) -> None:
    session.run("file = open('log', 'w+')\nfile.write('one two')\nfile.seek(4)\n")
    session.succeed("checkpoint")
    session.run("file.read()\nfile.write(' three')\nfile.close()\nopen('log', 'a').write('four')\n")
    session.succeed("rollback")
    assert session.run("print(file.read(), open('log').read())\n") == "two one two\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (f"open('f', 'w').truncate({MAX_BYTES + 1})\n", "larger"),
        (f"for n in range({MAX_ENTRIES + 1}):\n    open(str(n), 'w').close()\n", "more than"),
        ("import os\nos.mkfifo('f')\n", "special"),
        ("import os\nopen('f', 'w').close()\nos.link('f', 'g')\n", "several names"),
        ("import os\nos.makedirs('/'.join('d' * 40))\n", "deeper"),
    ],
)
def test_a_work_folder_beyond_the_limits_is_refused(session: Session, code: str, reason: str) -> None:
    session.run(code)
    assert reason in session.refusal()
    assert session.run("print(1)\n") == "1\n"


@pytest.mark.parametrize("pid", ["Infinity", "NaN", "-1", "null", "[]", "1"])
def test_a_copy_that_there_is_not_costs_neither_interpreter_nor_sandbox(session: Session, pid: str) -> None:
    session.run(f"""
import os, sys
from sandbox_image.protocol import INTERPRETER, encode_frame
def claim(self, fd):
    os.write(fd, encode_frame(INTERPRETER, b'{{"t": "copied", "pid": {pid}}}'))
    os.close(fd)
sys.modules["sandbox_image.interpreter"].Interpreter._copy = claim
""")
    assert session.refusal() in ("the interpreter's answer is not understood", "the copy of the interpreter was killed")
    assert session.run("print(1)") == "1\n"


def test_the_memory_of_copies_is_freed(session: Session) -> None:
    pid = int(session.run("import os\nheap = bytearray(30_000_000)\nprint(os.getpid())\n"))
    held = descriptors(session)
    for _ in range(5):
        session.succeed("checkpoint")
        session.run("heap[:] = bytes(30_000_000)\n")
        session.succeed("commit")
        session.succeed("checkpoint")
        session.succeed("rollback")
    (now,) = session.supervised.children()
    assert now != pid
    assert descriptors(session) == held


def descriptors(session: Session) -> int | None:
    """How many the supervisor has. It is not dumpable, so that only root is told."""
    return len(os.listdir(f"/proc/{session.supervised.process.pid}/fd")) if os.geteuid() == 0 else None
