from __future__ import annotations

from tests.sandbox_image.zygote import Interpreter, Turn


def test_state_lives_on_between_chunks_and_blocks(session: Interpreter) -> None:
    turn = session.bash([0, 1, 0, "x=5\ncd /\n"], [1, 3, 0, "f() { echo $x $PWD; }\n"], [2, 4, 0, "f\n"])
    assert turn.stdout == "5 /\n"
    assert turn.done["status"] == "ok"
    assert turn.done["ran"] == 3
    assert session.bash([0, 1, 0, "f >&2\n"]).stderr == "5 /\n"


def test_a_status_other_than_zero_does_not_stop_the_block(session: Interpreter) -> None:
    turn = session.bash([0, 1, 0, "false\n"], [1, 2, 0, "nosuch\n"], [2, 3, 0, "echo on; (exit 3)\n"])
    assert turn.stdout == "on\n"
    assert "line 2: nosuch: command not found" in turn.stderr
    assert (turn.done["status"], turn.done["code"], turn.done["ran"]) == ("ok", 3, 3)


def test_exit_ends_the_block_and_the_next_one_starts_where_it_was(session: Interpreter) -> None:
    turn = session.bash([0, 1, 0, "x=1; cd /tmp\n"], [1, 2, 0, "exit 4\n"], [2, 3, 0, "echo never\n"])
    assert (turn.done["status"], turn.done["code"], turn.done["ran"]) == ("exit", 4, 1)
    assert turn.stdout == ""
    assert session.bash([0, 1, 0, 'echo "<$x>" $PWD\n']).stdout == "<> /tmp\n"


def test_a_shell_that_kills_itself_is_an_exit(session: Interpreter) -> None:
    assert session.bash([0, 1, 0, "kill -9 $$\n"]).done["code"] == 137
    assert session.bash([0, 1, 0, "echo on\n"]).stdout == "on\n"


def test_an_interrupt_ends_what_runs(session: Interpreter) -> None:
    for code in ("echo on; sleep 60\n", "echo on; while :; do :; done\n", "echo on; while :; do sleep 60; done\n"):
        session.send([[0, 1, 0, code]], block=code, final=True, language="bash")
        turn = Turn()
        session.wait_for_output(turn, "on")
        session.interrupt()
        assert session.wait_done(turn).done["status"] == "interrupted"
    assert session.bash([0, 1, 0, "echo on\n"]).stdout == "on\n"


def test_background_jobs_do_not_hold_the_shell(session: Interpreter) -> None:
    turn = session.bash([0, 1, 0, "sleep 60 & echo $!\n"], [1, 2, 0, "exit 0\n"])
    assert turn.done["status"] == "exit"
    session.run(f"import os\nos.kill({turn.stdout.strip()}, 9)\n")


def test_commands_have_the_standard_descriptors_only(session: Interpreter) -> None:
    assert session.bash([0, 1, 0, "ls /proc/self/fd\n"]).stdout.split() == ["0", "1", "2", "3"]
    assert session.bash([0, 1, 0, "cat; read x; echo $?\n"]).stdout == "1\n"


def test_redirections_of_the_shell_itself_last(session: Interpreter) -> None:
    session.bash([0, 1, 0, "exec 3>&1 >out.txt\n"], [1, 2, 0, "echo hidden\n"])
    turn = session.bash([0, 1, 0, "exec >&3\n"], [1, 2, 0, "cat out.txt\n"])
    assert turn.stdout == "hidden\n"


def test_python_and_bash_share_streams_and_files(session: Interpreter) -> None:
    session.run("open('data.txt', 'w').write('from python')\n")
    assert session.bash([0, 1, 0, "cat data.txt\n"]).stdout == "from python"


def test_every_program_begins_at_line_one_with_a_status_of_zero(session: Interpreter) -> None:
    assert session.bash([0, 1, 0, "x=1\n\n"], [1, 3, 0, "(exit 3)\n"]).done["code"] == 3
    assert session.bash([0, 1, 0, "echo $? $LINENO $x\n"], [1, 2, 0, "echo $LINENO\n"]).stdout == "0 1 1\n2\n"


def test_a_trap_for_the_end_runs_at_the_end_of_the_program(session: Interpreter) -> None:
    turn = session.bash([0, 1, 0, "cd /tmp; trap 'echo bye $?' EXIT\n"], [1, 2, 0, "(exit 3)\n"])
    assert (turn.stdout, turn.done["status"], turn.done["code"]) == ("bye 3\n", "ok", 3)
    assert session.bash([0, 1, 0, "trap; pwd\n"]).stdout == "/tmp\n"


def test_a_program_in_several_executions_is_one_script(session: Interpreter) -> None:
    session.send([[0, 1, 0, "trap 'echo bye' EXIT; false\n"]], block="b", final=False, language="bash")
    assert session.wait_done(Turn()).stdout == ""
    session.send([[1, 2, 0, "echo $? $LINENO\n"]], block="b", final=True, language="bash")
    assert session.wait_done(Turn()).stdout == "1 2\nbye\n"
