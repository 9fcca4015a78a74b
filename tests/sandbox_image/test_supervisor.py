import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox_image.protocol import CONTROL, FILE, HEADER, INTERPRETER, MAX_FRAME_BYTES, STDOUT, encode_frame
from sandbox_image.relay import MAX_MESSAGE_BYTES
from tests.sandbox_image.supervised import PATIENCE_S, STAND_IN, SUPERVISOR, Supervised

USER = 65532
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Supervised]:
    with Supervised(tmp_path) as supervised:
        assert supervised.message()["t"] == "ready"
        yield supervised


def expect_new_interpreter(sandbox: Supervised, number: int = 99) -> None:
    """Recovery: ready, then an execution that sees nothing of the one before."""
    assert sandbox.message()["t"] == "ready"
    assert sandbox.run(number, "print('marker' in globals())") == "False\n"


def lost(sandbox: Supervised) -> tuple[int | None, int, str, str]:
    message, *_ = sandbox.until("lost")
    assert set(message) == {"t", "id", "ran", "reason", "detail"}
    return message["id"], message["ran"], message["reason"], message["detail"]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_it_opens_with_ready(tmp_path: Path) -> None:
    with Supervised(tmp_path) as sandbox:
        ready = sandbox.message()
        assert ready.pop("languages")[0] == "python"
        assert ready == {
            "kind": CONTROL,
            "t": "ready",
            "protocol": 1,
            "python": list(sys.version_info[:3]),
            "workdir": str(tmp_path),
        }


def test_the_namespace_lives_from_execution_to_execution(sandbox: Supervised) -> None:
    assert sandbox.run(1, "x = 20") == ""
    assert sandbox.run(2, "x += 1", "print(2 * x)") == "42\n"


def test_user_code_sees_only_its_own_environment_and_descriptors(sandbox: Supervised, tmp_path: Path) -> None:
    out = sandbox.run(
        1,
        "import json, os, sys",
        "fds = [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') if fd < '4']",
        "last = max(map(int, os.listdir('/proc/self/fd')))",
        "print(json.dumps([dict(os.environ), fds, last, os.getcwd(), os.getsid(0) == os.getpid()]))",
    )
    environment, links, last, cwd, leads_session = json.loads(out)
    assert environment["HOME"] == cwd == str(tmp_path)
    assert environment["OPENBLAS_NUM_THREADS"] == "1"
    assert set(environment) == {
        *("HOME", "PATH", "LANG", "TMPDIR", "MPLBACKEND", "MPLCONFIGDIR", "XDG_CACHE_HOME"),
        *("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    }
    assert [link.split(":")[0] for link in sorted(links)] == ["/dev/null", "pipe", "pipe", "socket"]
    assert last == 4  # the listing itself
    assert leads_session


def test_signals_are_as_in_a_fresh_python(sandbox: Supervised) -> None:
    code = "import signal\nprint({s.name: str(signal.getsignal(s)) for s in signal.Signals} == EXPECTED)"
    fresh = "import signal; print({s.name: str(signal.getsignal(s)) for s in signal.Signals})"
    expected = subprocess.run([sys.executable, "-I", "-c", fresh], capture_output=True, check=True, text=True).stdout
    # The representation of default_int_handler holds an address.
    hide = "import re\nhide = lambda text: re.sub(r' at 0x\\w+', '', text)"
    assert sandbox.run(1, hide, code.replace("} == EXPECTED", f"}} == {expected.strip()}")) == "True\n"


def test_all_output_comes_before_done(sandbox: Supervised) -> None:
    for number in range(1, 200):
        sandbox.execute(number, f"import sys; print('out {number}'); print('err {number}', file=sys.stderr)")
        done, out, err, _ = sandbox.until("done")
        assert (done["id"], out, err) == (number, f"out {number}\n", f"err {number}\n")


def test_output_of_a_thread_that_never_stops_does_not_hold_up_done(sandbox: Supervised) -> None:
    flood = "import os, threading\ndef flood():\n    while True: os.write(1, b'x' * 1000)"
    sandbox.execute(1, flood, "threading.Thread(target=flood, daemon=True).start()")
    assert sandbox.until("done")[0]["status"] == "ok"
    sandbox.control(op="reset")
    assert lost(sandbox)[2] == "reset"


def test_messages_of_every_size_are_relayed_unread(sandbox: Supervised) -> None:
    for number, size in enumerate((0, 100, 65_536, 5_000_000), 1):
        sandbox.execute(number, f"print('before'); import sys; sys.stdout.flush(); raw({_frame_source(size)})")
        received: list[tuple[int, bytes]] = []
        while True:
            kind, payload = sandbox.frame()
            received.append((kind, payload))
            if payload.startswith(b'{"t":"done"'):
                break
        assert received[0] == (STDOUT, b"before\n")
        assert [(kind, len(payload)) for kind, payload in received[1:-1]] == [(INTERPRETER, size)]


def _frame_source(size: int) -> str:
    return f"({size + 1}).to_bytes(4, 'big') + bytes([3]) + b' ' * {size}"


def test_a_large_program_is_passed_on(sandbox: Supervised) -> None:
    assert sandbox.run(1, f"text = {'x' * 6_000_000!r}", "print(len(text))") == "6000000\n"


def test_messages_sent_in_pieces_are_put_together(sandbox: Supervised) -> None:
    ping = encode_frame(CONTROL, b'{"op":"ping","id":7}')
    for byte in ping + ping:
        sandbox.stream.sendall(bytes([byte]))
    for answer in (sandbox.message(), sandbox.message()):
        assert answer.pop("cpu_ms") >= 0
        assert answer == {"kind": CONTROL, "t": "pong", "id": 7}


def test_output_between_executions_comes_as_it_is_written(sandbox: Supervised, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    sandbox.run(1, "import subprocess", "late = subprocess.Popen(['sh', '-c', 'cat gate; echo late'])")
    with (tmp_path / "gate").open("w") as gate:
        gate.write("opened\n")
    received = b""
    while b"late" not in received:
        kind, payload = sandbox.frame()
        assert kind == STDOUT
        received += payload
    assert received == b"opened\nlate\n"


def test_a_program_may_close_its_output(sandbox: Supervised) -> None:
    sandbox.run(1, "import os; os.close(1)")
    sandbox.execute(2, "os.write(2, b'still here')")
    assert sandbox.until("done")[2] == "still here"


# Back-pressure.


def test_a_flood_costs_bounded_memory_and_loses_nothing(sandbox: Supervised) -> None:
    sandbox.run(1, "import os", "block = bytes(65536)")
    before = peak_memory_kb(sandbox.process.pid)
    sandbox.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sandbox.execute(2, "for _ in range(3200): os.write(1, block)")
    size = 0
    while True:
        kind, payload = sandbox.frame()
        if kind == INTERPRETER:
            break
        size += len(payload)
    assert size == 3200 * 65536
    assert peak_memory_kb(sandbox.process.pid) - before < 2048


def peak_memory_kb(pid: int) -> int:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1])


def test_the_gateway_can_interrupt_a_flood_that_it_does_not_read(sandbox: Supervised) -> None:
    sandbox.execute(1, "while True: print('x' * 1000)")
    assert sandbox.frame()[0] == STDOUT
    sandbox.control(op="interrupt", id=1)
    assert sandbox.until("done")[0]["status"] == "interrupted"
    assert sandbox.run(2, "print('fine')").endswith("fine\n")  # after what the writer still held


def test_the_gateway_can_reset_a_flood_of_messages_that_it_does_not_read(sandbox: Supervised) -> None:
    sandbox.execute(1, "while True: say({'t': 'display', 'id': 1, 'data': {'text/plain': 'x' * 1000}})")
    assert sandbox.message()["t"] == "display"
    sandbox.control(op="reset")
    assert lost(sandbox)[:3] == (1, 0, "reset")
    expect_new_interpreter(sandbox)


def test_a_program_that_does_not_read_its_messages_holds_up_nobody_else(sandbox: Supervised) -> None:
    sandbox.run(1, "import threading, time", "marker = 1", "hold = threading.Event()")
    sandbox.execute(2, "print('holding', flush=True); hold.wait()")
    assert sandbox.frame() == (STDOUT, b"holding\n")
    sandbox.execute(3, "#" * 3_000_000)  # more than the channel holds
    sandbox.control(op="ping", id=5)
    answer = sandbox.message()
    assert (answer["t"], answer["id"]) == ("pong", 5)
    sandbox.execute(4, "pass")  # as if it had answered
    number, _, reason, detail = lost(sandbox)
    assert (number, reason, detail) == (2, "protocol", "the interpreter answered a message it did not read")
    expect_new_interpreter(sandbox)


# Interrupt and reset.


def test_interrupt_stops_the_execution_and_keeps_the_namespace(sandbox: Supervised) -> None:
    sandbox.execute(1, "x = 5", "print('running', flush=True)\nwhile True: pass")
    assert sandbox.frame() == (STDOUT, b"running\n")
    sandbox.control(op="interrupt", id=1)
    assert sandbox.until("done")[0]["status"] == "interrupted"
    assert sandbox.run(2, "print(x)") == "5\n"


def test_an_interrupt_that_overtakes_its_execution_waits_for_it(sandbox: Supervised) -> None:
    for number in range(1, 20):
        sandbox.execute(number, "while True: pass")
        sandbox.control(op="interrupt", id=number)
        assert sandbox.until("done")[0]["status"] == "interrupted"


def test_an_interrupt_for_another_execution_is_ignored(sandbox: Supervised) -> None:
    sandbox.run(1, "pass")
    sandbox.control(op="interrupt", id=1)
    sandbox.control(op="interrupt", id=0)
    sandbox.execute(2, "print('started', flush=True); channel.recv(5)")
    assert sandbox.frame() == (STDOUT, b"started\n")
    sandbox.control(op="interrupt", id=1)
    sandbox.control(op="ping", id=3)
    assert sandbox.message()["t"] == "pong"
    sandbox.stream.sendall(encode_frame(INTERPRETER, b""))  # what the code waits for
    assert sandbox.until("done")[0]["status"] == "ok"


def test_interrupt_wakes_a_program_that_stopped_itself(sandbox: Supervised) -> None:
    sandbox.execute(1, "import os, signal", "print(os.getpid(), flush=True)\nos.kill(os.getpid(), signal.SIGSTOP)")
    pid = int(sandbox.frame()[1])
    while Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "T":
        os.sched_yield()
    sandbox.control(op="interrupt", id=1)
    assert sandbox.until("done")[0]["status"] == "interrupted"
    assert sandbox.run(2, "print('fine')") == "fine\n"


def test_reset_ends_everything_and_starts_anew(sandbox: Supervised) -> None:
    sandbox.run(1, "marker = 1")
    sandbox.control(op="reset")
    assert lost(sandbox) == (None, 0, "reset", "")
    expect_new_interpreter(sandbox)


def test_every_reset_is_answered(sandbox: Supervised) -> None:
    for _ in range(3):
        sandbox.control(op="reset")
    replies = [sandbox.message() for _ in range(4)]
    while replies[-1]["t"] != "ready" or len([reply for reply in replies if reply["t"] == "lost"]) < 3:
        replies.append(sandbox.message())
    assert {reply.get("reason") for reply in replies} == {None, "reset"}
    sandbox.control(op="ping", id=1)
    assert sandbox.message()["t"] == "pong"
    assert sandbox.run(9, "print('fine')") == "fine\n"


def test_reset_ends_a_program_that_ignores_interrupts(sandbox: Supervised) -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('deaf', flush=True)\nwhile True: pass"
    sandbox.execute(1, "marker = 1", code)
    assert sandbox.frame()[0] == STDOUT
    sandbox.control(op="interrupt", id=1)
    sandbox.control(op="reset")
    assert lost(sandbox) == (1, 1, "reset", "")
    expect_new_interpreter(sandbox)


# Death of the interpreter.


@pytest.mark.parametrize(
    ("code", "reason", "detail"),
    [
        ("os._exit(3)", "exit", "exit status 3"),
        ("os._exit(0)", "exit", "exit status 0"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal", "killed by signal 9 (SIGKILL)"),
        ("os.abort()", "signal", "killed by signal 6 (SIGABRT)"),
        ("import ctypes; ctypes.string_at(0)", "signal", "killed by signal 11 (SIGSEGV)"),
        ("os.kill(os.getpid(), 40)", "signal", "killed by signal 40 (real-time signal)"),
    ],
)
def test_a_death_is_told_with_all_output_and_the_session_goes_on(
    code: str, reason: str, detail: str, sandbox: Supervised
) -> None:
    sandbox.execute(1, "import os, signal, resource", "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))", "marker = 1")
    sandbox.until("done")
    sandbox.execute(2, "os.write(1, b'last words')", "say({'t': 'display', 'id': 2})", code)
    message, out, _, before = sandbox.until("lost")
    assert out == "last words"
    assert before == [{"t": "display", "id": 2}]
    assert message == {"t": "lost", "id": 2, "ran": 2, "reason": reason, "detail": detail}
    expect_new_interpreter(sandbox)


def test_a_death_between_executions_belongs_to_none(sandbox: Supervised, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    code = (
        "import os, threading\ndef die():\n    open('gate').read(); os._exit(1)\nthreading.Thread(target=die).start()"
    )
    sandbox.run(1, code)
    (tmp_path / "gate").write_text("")
    assert lost(sandbox) == (None, 0, "exit", "exit status 1")
    expect_new_interpreter(sandbox)


def test_what_it_started_dies_with_it(sandbox: Supervised) -> None:
    """Also a daemon in a session of its own, a stopped process, one that ignores signals, and an orphan."""
    sandbox.run(1, "import os, signal, subprocess, time", "pids = []")
    for setting in ("os.setsid()", "os.kill(os.getpid(), signal.SIGSTOP)", "signal.signal(signal.SIGTERM, 1)"):
        sandbox.run(2, f"pid = os.fork()\nif pid == 0:\n    {setting}\n    time.sleep(1000)\npids.append(pid)")
    sandbox.run(3, "orphan = subprocess.run('sleep 1000 >/dev/null & echo $!', shell=True, stdout=subprocess.PIPE)")
    pids = [int(pid) for pid in sandbox.run(4, "print(*pids, int(orphan.stdout), os.getpid())").split()]
    assert len(pids) == 5
    assert all(map(is_alive, pids))
    sandbox.execute(5, "os._exit(0)")
    assert lost(sandbox)[2] == "exit"
    assert not any(map(is_alive, pids))
    expect_new_interpreter(sandbox)


def test_a_small_fork_bomb_is_ended_by_reset(sandbox: Supervised) -> None:
    bomb = "import os, signal, time\nprint('lit', flush=True)\nfor _ in range(5): os.fork()\ntime.sleep(1000)"
    sandbox.execute(1, bomb)
    assert sandbox.frame() == (STDOUT, b"lit\n")
    sandbox.control(op="reset")
    assert lost(sandbox)[2] == "reset"
    expect_new_interpreter(sandbox)
    assert len(sandbox.children()) == 1


def test_zombies_are_reaped(sandbox: Supervised) -> None:
    sandbox.run(1, "import os\nif os.fork() == 0:\n    if os.fork() == 0: os._exit(0)\n    os._exit(0)\nos.wait()")
    while len(sandbox.children()) > 1:
        sandbox.control(op="ping", id=1)
        assert sandbox.message()["t"] == "pong"


def test_interpreters_that_die_at_birth_end_the_sandbox() -> None:
    folder = Path(tempfile.mkdtemp())
    with Supervised(folder) as sandbox:
        assert sandbox.message()["t"] == "ready"
        sandbox.execute(1, "import os; os.rmdir(os.getcwd()); os._exit(0)")  # the next cannot enter it
        status, errors = sandbox.end()
        assert status == 5
        assert "no interpreter stays alive: 6 died in a row" in errors
        assert "exit status 70" in errors


# An interpreter that breaks the protocol.


@pytest.mark.parametrize("kind", [0, 1, 2, 4, 5, 255])
def test_it_cannot_speak_for_another(kind: int, sandbox: Supervised) -> None:
    payload = b'{"t":"pong","id":1}'
    sandbox.execute(1, "marker = 1", f"raw({encode_frame(kind, payload)!r})\nwhile True: pass")
    assert lost(sandbox) == (1, 1, "protocol", f"frame of kind {kind} from the interpreter")
    expect_new_interpreter(sandbox)


@pytest.mark.parametrize("length", [0, MAX_MESSAGE_BYTES + 1, 0xFFFFFFFF])
def test_a_forged_length_ends_it(length: int, sandbox: Supervised) -> None:
    sandbox.execute(1, "marker = 1", f"raw({HEADER.pack(length, 3)!r})\nwhile True: pass")
    number, _, reason, detail = lost(sandbox)
    assert (number, reason, detail) == (1, "protocol", f"frame of {length} bytes, limit is {MAX_MESSAGE_BYTES}")
    expect_new_interpreter(sandbox)


def test_a_frame_that_is_never_finished_holds_up_nobody(sandbox: Supervised) -> None:
    sandbox.execute(1, f"raw({HEADER.pack(10_000_000, 3)!r} + bytes(100_000))", "print('on', flush=True)")
    assert sandbox.frame() == (STDOUT, b"on\n")
    sandbox.control(op="ping", id=1)
    assert sandbox.message()["t"] == "pong"
    sandbox.control(op="reset")
    assert lost(sandbox)[2] == "reset"
    expect_new_interpreter(sandbox)


def test_closing_the_channel_ends_it(sandbox: Supervised) -> None:
    sandbox.execute(1, "channel.close()\nwhile True: pass")
    assert lost(sandbox) == (1, 0, "protocol", "the interpreter closed its channel")
    expect_new_interpreter(sandbox)


def test_what_it_writes_into_the_shared_memory_is_only_its_own_claim(sandbox: Supervised) -> None:
    sandbox.execute(1, "import os; progress[:16] = b'\\xff' * 16; os._exit(0)")
    number, ran, reason, _ = lost(sandbox)
    assert (number, ran, reason) == (2**64 - 1, 2**64 - 1, "exit")
    expect_new_interpreter(sandbox)


# Protection of the supervisor.


@pytest.fixture
def foreign_folder() -> Iterator[Path]:
    """A folder that an ordinary user can enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(folder, USER, USER)
    yield folder
    shutil.rmtree(folder)


def test_user_code_of_the_same_uid_cannot_look_into_the_supervisor(foreign_folder: Path) -> None:
    attack = """
import os
tried = {}
for path in ("mem", "environ", "fd", "fd/0", "maps"):
    for pid in (os.getppid(), os.getpid()):
        name = f"/proc/{pid}/{path}"
        try:
            os.listdir(name) if path == "fd" else open(name, "rb").close()
        except OSError as error:
            tried[pid, path] = type(error).__name__
print(os.geteuid() == os.stat(f"/proc/{os.getppid()}").st_uid)
print(sorted((path, error) for (pid, path), error in tried.items() if pid == os.getppid()))
print([path for pid, path in tried if pid == os.getpid()])
"""
    prefix = ("--as-uid", str(USER)) if os.geteuid() == 0 else ()
    with Supervised(foreign_folder, prefix=prefix) as sandbox:
        sandbox.message()
        same_uid, supervisor, own = sandbox.run(1, attack).splitlines()
        assert same_uid == "True"
        expected = [(path, "PermissionError") for path in ("environ", "fd", "fd/0", "maps", "mem")]
        assert supervisor == str(expected)
        assert own == "[]"


def test_signals_do_not_end_the_supervisor(sandbox: Supervised) -> None:
    sandbox.run(1, "import os, signal", "harmless = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}")
    sandbox.run(2, "for number in harmless: os.kill(os.getppid(), number)")
    assert sandbox.run(2, "print('fine')") == "fine\n"


def test_a_lowered_limit_of_descriptors_leaks_none_into_the_next_interpreter(sandbox: Supervised) -> None:
    sandbox.execute(
        1, "import os, resource", "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (64, 64))\nos._exit(0)"
    )
    assert lost(sandbox)[2] == "exit"
    assert sandbox.message()["t"] == "ready"
    assert sandbox.run(2, "import os; print(sorted(os.listdir('/proc/self/fd')))") == "['0', '1', '2', '3', '4']\n"


@as_root
def test_user_code_may_have_a_uid_of_its_own(foreign_folder: Path) -> None:
    os.chown(foreign_folder, 0, 0)
    with Supervised(foreign_folder, "--uid", str(USER)) as sandbox:
        sandbox.message()
        code = "import os; print(os.getresuid(), os.getresgid(), os.getgroups())\nopen('f', 'w').close()"
        assert sandbox.run(1, code) == f"({USER}, {USER}, {USER}) ({USER}, {USER}, {USER}) []\n"
        assert sandbox.run(2, "print('through', file=open('/dev/stdout', 'w'))") == "through\n"
        assert sandbox.put(3, "folder/g", b"data")["ok"] is True
        assert sandbox.run(4, "open('folder/g', 'a').write('x'); os.unlink('folder/g')") == ""
        sandbox.execute(5, "os._exit(1)")
        assert lost(sandbox)[2] == "exit"
        expect_new_interpreter(sandbox)


def test_two_interpreters_draw_different_random_numbers(tmp_path: Path) -> None:
    with Supervised(tmp_path, "--preload", "random") as sandbox:
        sandbox.message()
        drawn = set()
        for number in range(1, 4):
            drawn.add(sandbox.run(number, "import random; print(random.random())"))
            sandbox.control(op="reset")
            lost(sandbox)
            sandbox.message()
        assert len(drawn) == 3


# Start and end.


def test_modules_are_preloaded_and_a_missing_one_is_noted(tmp_path: Path) -> None:
    with Supervised(tmp_path, "--preload", "no_such_module,wave,") as sandbox:
        sandbox.message()
        assert sandbox.run(1, "import sys; print('wave' in sys.modules)") == "True\n"
        sandbox.stream.close()
        assert sandbox.end() == (
            0,
            "sandbox supervisor: no_such_module is not preloaded: "
            "ModuleNotFoundError: No module named 'no_such_module'\n",
        )


def test_when_the_gateway_leaves_nothing_stays(tmp_path: Path) -> None:
    with Supervised(tmp_path) as sandbox:
        sandbox.message()
        sandbox.run(1, "import os, time", "child = os.fork()\nif child == 0:\n    os.setsid()\n    time.sleep(1000)")
        pids = [int(pid) for pid in sandbox.run(2, "print(os.getpid(), child)").split()]
        sandbox.execute(3, "while True: print('busy')")
        assert sandbox.frame()[0] == STDOUT
        sandbox.stream.close()
        assert sandbox.end() == (0, "")
        assert not any(map(is_alive, pids))


def test_when_the_supervisor_is_killed_the_interpreter_dies(tmp_path: Path) -> None:
    with Supervised(tmp_path) as sandbox:
        sandbox.message()
        sandbox.execute(1, "import os; print(os.getpid(), flush=True)\nwhile True: pass")
        ended = select.poll()
        interpreter = os.pidfd_open(int(sandbox.frame()[1]))
        ended.register(interpreter)
        assert not ended.poll(0)
        sandbox.process.kill()
        assert ended.poll(PATIENCE_S * 1000)
        os.close(interpreter)


@pytest.mark.parametrize(
    "data",
    [
        HEADER.pack(0, 0),
        HEADER.pack(MAX_FRAME_BYTES + 1, 3),
        encode_frame(1, b"x"),
        encode_frame(7, b"x"),
        encode_frame(FILE, b"nothing is being put"),
        encode_frame(CONTROL, b"{"),
        encode_frame(CONTROL, b"[]"),
        encode_frame(CONTROL, b'"\xff"'),
        encode_frame(CONTROL, b'{"op":"dance"}'),
        encode_frame(CONTROL, b'{"op":["ping"],"id":1}'),
        encode_frame(CONTROL, b'{"op":"ping"}'),
        encode_frame(CONTROL, b'{"op":"ping","id":true}'),
        encode_frame(CONTROL, b'{"op":"put","id":1,"path":"a","size":-1}'),
        encode_frame(CONTROL, b'{"op":"get","id":1,"path":7,"limit":1}'),
        encode_frame(CONTROL, b'{"op":"put","id":1,"path":"a","size":1}') + encode_frame(FILE, b"xx"),
        encode_frame(CONTROL, b'{"op":"put","id":1,"path":"a","size":1}')
        + encode_frame(CONTROL, b'{"op":"list","id":2,"limit":1}'),
    ],
)
def test_a_gateway_that_breaks_the_protocol_ends_the_sandbox(data: bytes, sandbox: Supervised) -> None:
    sandbox.stream.sendall(data)
    status, errors = sandbox.end()
    assert status == 4
    assert errors.startswith("sandbox supervisor: the gateway broke the protocol: ")


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_work_folder_that_is_none_is_a_clear_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Supervised(tmp_path / name) as sandbox:
        status, errors = sandbox.end()
        assert status == 3
        assert errors.startswith("sandbox supervisor: cannot start: ")
        assert name in errors


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user is wanted whose folder is another's")
def test_a_work_folder_that_is_not_writable_is_a_clear_error(foreign_folder: Path) -> None:
    os.chown(foreign_folder, 0, 0)
    foreign_folder.chmod(0o755)
    with Supervised(foreign_folder, prefix=("--as-uid", str(USER))) as sandbox:
        status, errors = sandbox.end()
        assert (status, errors) == (
            3,
            f"sandbox supervisor: cannot start: no permission to write to {foreign_folder}\n",
        )


def test_the_stream_may_be_standard_input_and_output(tmp_path: Path) -> None:
    with Supervised(tmp_path, pass_fd=False) as sandbox:
        assert sandbox.message()["t"] == "ready"
        code = "import os; print([os.readlink(f'/proc/{os.getppid()}/fd/{fd}') for fd in (0, 1)])"
        if os.geteuid() == 0:  # others may not look
            assert sandbox.run(1, code) == f"{['/dev/null'] * 2}\n"
        sandbox.stream.close()
        assert sandbox.end() == (0, "")


def test_the_stream_may_be_a_socket_the_gateway_listens_on(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)
        listener.settimeout(PATIENCE_S)
        command = [sys.executable, "-I", STAND_IN, "--connect", tmp_path / "s", "--workdir", tmp_path]
        with subprocess.Popen(command) as process:
            stream, _ = listener.accept()
            with stream:
                stream.settimeout(PATIENCE_S)
                received = b""
                while b'"ready"' not in received:
                    received += stream.recv(1000)
                assert b'"step"' in received
        assert process.returncode == 0


def test_a_socket_that_nobody_listens_on_is_a_clear_error(tmp_path: Path) -> None:
    command = [sys.executable, "-I", STAND_IN, "--connect", tmp_path / "s", "--workdir", tmp_path]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 3
    assert process.stderr == "sandbox supervisor: cannot start: [Errno 2] No such file or directory\n"


# Files, over the stream.


def test_files_travel_while_code_runs(sandbox: Supervised) -> None:
    data = os.urandom(3_000_000)
    assert sandbox.put(1, "in/data.bin", data) == {
        "t": "file",
        "id": 1,
        "ok": True,
        "error": None,
        "size": 3_000_000,
        "entries": None,
        "truncated": False,
    }
    sandbox.execute(2, "while True: print('x' * 1000)")
    received, reply = sandbox.get(3, "in/data.bin")
    assert (received == data, reply["ok"], reply["size"]) == (True, True, 3_000_000)
    sandbox.control(op="list", id=4, limit=10)
    listing = sandbox.until("file")[0]
    assert [(entry["path"], entry["size"]) for entry in listing["entries"]] == [("in/data.bin", 3_000_000)]
    sandbox.control(op="interrupt", id=2)
    assert sandbox.until("done")[0]["status"] == "interrupted"


def test_user_code_sees_what_was_put_and_the_gateway_what_it_wrote(sandbox: Supervised) -> None:
    sandbox.put(1, "in.txt", b"hello")
    sandbox.run(2, "open('out.txt', 'w').write(open('in.txt').read().upper())")
    assert sandbox.get(3, "out.txt")[0] == b"HELLO"
    sandbox.control(op="remove", id=4, path="out.txt")
    assert sandbox.until("file")[0]["ok"] is True
    assert sandbox.get(5, "out.txt")[1]["error"] == "No such file or directory"


def test_a_refused_put_leaves_the_stream_in_step(sandbox: Supervised) -> None:
    reply = sandbox.put(1, "../escape", bytes(200_000))
    assert (reply["id"], reply["ok"]) == (1, False)
    assert "'..'" in reply["error"]
    assert sandbox.run(2, "print('fine')") == "fine\n"


def test_a_file_operation_survives_the_death_of_the_interpreter(sandbox: Supervised) -> None:
    sandbox.control(op="put", id=1, path="f", size=6)
    sandbox.stream.sendall(encode_frame(FILE, b"abc"))
    sandbox.control(op="reset")
    assert lost(sandbox)[2] == "reset"
    assert sandbox.message()["t"] == "ready"
    sandbox.stream.sendall(encode_frame(FILE, b"def"))
    assert sandbox.message()["size"] == 6
    assert sandbox.get(2, "f")[0] == b"abcdef"


def test_a_large_file_costs_bounded_memory_and_holds_up_nobody(sandbox: Supervised, tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(100_000_000)
    before = peak_memory_kb(sandbox.process.pid)
    sandbox.control(op="get", id=1, path="big", limit=1 << 30)
    assert sandbox.frame()[0] == FILE
    sandbox.execute(2, "pass")
    kinds = [sandbox.frame()[0]]
    while kinds[-1] != CONTROL:
        kinds.append(sandbox.frame()[0])
    assert kinds.index(INTERPRETER) < 500, "the execution waited for the file"
    assert len(kinds) > 1500
    assert peak_memory_kb(sandbox.process.pid) - before < 2048


# With the real interpreter.


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Supervised]:
    with Supervised(tmp_path, program=SUPERVISOR) as supervised:
        assert supervised.message()["t"] == "ready"
        yield supervised


def test_the_real_interpreter_runs_fails_dies_and_is_replaced(session: Supervised) -> None:
    assert session.run(1, "print('hello')\n") == "hello\n"
    session.execute(2, "import sys; print('out'); print('err', file=sys.stderr)\n", "1 / 0\n")
    done, out, err, before = session.until("done")
    assert (done["status"], done["ran"], out, err) == ("error", 1, "out\n", "err\n")
    assert [message["ename"] for message in before] == ["ZeroDivisionError"]
    session.execute(3, "import os\n", "os._exit(3)\n")
    assert lost(session) == (3, 1, "exit", "exit status 3")
    expect_new_interpreter(session)


def test_the_real_interpreter_is_interrupted_however_early(session: Supervised) -> None:
    for number in range(1, 20):
        session.execute(number, "while True: pass\n")
        session.control(op="interrupt", id=number)
        assert session.until("done")[0]["status"] == "interrupted"


def test_user_code_of_the_real_interpreter_finds_nothing_of_ours_on_its_path(session: Supervised) -> None:
    ours = str(SUPERVISOR.parent)
    assert session.run(1, f"import sys; print([p for p in sys.path if p in ({ours!r}, '')])\n") == "[]\n"


# As the first process of a PID namespace.


def _can_unshare() -> bool:
    return subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not _can_unshare(), reason="PID namespaces cannot be made here")
def test_as_pid_1_it_ends_everything_else_in_its_namespace(tmp_path: Path) -> None:
    with Supervised(tmp_path, launcher=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")) as sandbox:
        assert sandbox.message()["t"] == "ready"
        sandbox.run(
            1, "import os, time", "for _ in range(4):\n    if os.fork() == 0:\n        os.setsid(); time.sleep(1000)"
        )
        assert sandbox.run(2, "print(os.getppid(), len([p for p in os.listdir('/proc') if p.isdigit()]))") == "1 6\n"
        sandbox.run(3, "import signal", "for number in signal.valid_signals(): os.kill(1, number)")
        sandbox.execute(4, "os._exit(0)")
        assert lost(sandbox)[2] == "exit"
        expect_new_interpreter(sandbox)
        assert sandbox.run(5, "import os; print(len([p for p in os.listdir('/proc') if p.isdigit()]))") == "2\n"
        sandbox.stream.close()
        assert sandbox.end() == (0, "")
