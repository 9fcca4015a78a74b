import shutil
import subprocess
from random import Random

import pytest

from app.detection.bash import BashDetector
from app.detection.chunk import Chunk, SyntaxProblem

COMMANDS = [
    "echo a\n",
    "echo 'a\nb' \"c $(echo \"d\n)\" e) ${f:-'}'}\n\"\n",
    "echo a \\\n  b\n",
    "a |\n  b &&\n\n  # why\n  c ||\n  d\n",
    "if a; then\n  b\nelif c; then d\nelse\n  e\nfi\n",
    "if a; then b; fi > out 2>&1\n",
    "for x in a b if; do\n  echo $x; done | sort\n",
    "for ((i = 0; i < 3; i++)); do echo $((i * (2 + 1))); done\n",
    'while read -r line\ndo\n  echo "$line"\ndone < <(seq 3)\n',
    "until a; do b; done &\n",
    'case "$x" in\n  a|b) echo if ;;\n  (c)\n    d\n    ;;\n  *) if e; then f; fi\nesac\n',
    "case x in esac\n",
    "case $x in $(echo y)) z;; esac\n",
    "f() {\n  a\n}\n",
    "f ()\n{\n  a; }\n",
    "function f {\n  a\n}\n",
    "function f() (\n  a\n)\n",
    "{ a; b; }\n",
    "(\n  a\n  cd b && c\n)\n",
    "x=$(\n  a | b\n)\n",
    "x=(\n  a 'b c'\n  done\n)\n",
    "declare -A m=([a]=1\n [b]=2)\n",
    "cat <<EOF\nif then fi ' \" $(\nEOF\n",
    "cat <<-'E O' <<B | sort\n\tx\n\tE O\ny\nB\n",
    "if a; then\ncat <<\\X\nfi\nX\nfi\n",
    'cat <<< "x\ny"\n',
    "[[ $a =~ (b|c) &&\n  -n $d ]]\n",
    "[ -f x ] && y\n",
    "if a; then [[ b == c ]]; fi\n",
    "([[ b == c ]]) && [[ d ]]&& e\n",
    "echo a#b $# ${#c} `d \\`e\\` \n` \\# # comment ' \\\n",
    "echo done fi esac } then\n",
    "! a\n",
    "time { a\n}\n",
    "echo $'it\\'s\n' $\"b\n\" @(a|b)\n",
    "((x = (1 + 2) * 3)) && echo y\n",
    "a; b & c\n",
    "coproc { a\n}\n",
    "select x in a b; do\n break; done\n",
    "diff <(a\n) <(b)\n",
]


def detect(code: str, sizes: list[int]) -> tuple[list[Chunk], BashDetector]:
    detector = BashDetector()
    chunks: list[Chunk] = []
    start = 0
    for size in sizes:
        chunks += detector.feed(code[start : start + size])
        start += size
    chunks += detector.feed(code[start:]) + detector.flush()
    assert "".join(chunk.source for chunk in chunks) + detector.remainder == code
    return chunks, detector


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.strip()[:30])
def test_a_command_is_a_chunk_once_its_last_line_is_over(command: str) -> None:
    detector = BashDetector()
    early = [chunk for c in command[:-1] for chunk in detector.feed(c)]
    assert early == []
    assert [chunk.source for chunk in detector.feed(command[-1])] == [command]
    assert [chunk.source for chunk in detector.feed("echo next\n")] == ["echo next\n"]
    assert detector.flush() == []
    assert detector.problem is None


def test_every_split_of_a_script_gives_the_same_chunks() -> None:
    random = Random(1)
    for _ in range(30):
        commands = random.sample(COMMANDS, 5)
        script = "\n# comment\n".join(commands)
        whole, _ = detect(script, [])
        assert [chunk.source.removeprefix("\n").removeprefix("# comment\n") for chunk in whole] == commands
        assert detect(script, [1] * len(script))[0] == whole
        assert detect(script, [random.randint(1, 9) for _ in script])[0] == whole


def _is_complete(script: str) -> bool:
    answer = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    return answer.returncode == 0 and not answer.stderr  # it only warns of an open here-document


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash is installed")
def test_bash_itself_finds_the_same_ends() -> None:
    for command in COMMANDS:
        if "@(" in command:
            continue  # extended patterns are off in a script
        lines = command.splitlines(True)
        continued = [line.endswith("\\\n") and line is not lines[-1] for line in lines]
        ends = [n for n in range(1, len(lines) + 1) if not continued[n - 1] and _is_complete("".join(lines[:n]))]
        assert ends[:1] == [len(lines)], command


def test_positions_count_lines() -> None:
    chunks, _ = detect("a\n\n# c\nb\n# d\n", [])
    assert [(c.index, c.source, c.start, c.end, c.line, c.column, c.kind) for c in chunks] == [
        (0, "a\n", 0, 2, 1, 0, "simple"),
        (1, "\n# c\nb\n", 2, 9, 2, 0, "simple"),
        (2, "# d\n", 9, 13, 5, 0, "trivia"),
    ]


def test_the_end_of_the_code_ends_the_last_command() -> None:
    for code in ("echo a", "if a; then b; fi", "cat <<EOF\nx", "echo a \\"):
        chunks, detector = detect(code, [1] * len(code))
        assert [chunk.source for chunk in chunks] == [code]
        assert detector.problem is None


@pytest.mark.parametrize("code", ["if a; then\n", "echo 'a\n", "a |\n", "f()\n", "x=$(a\n", "case x in\n", "while a"])
def test_code_that_ends_in_the_middle_of_a_command(code: str) -> None:
    chunks, detector = detect("a\n" + code, [])
    assert [chunk.source for chunk in chunks] == ["a\n"]
    assert detector.problem is not None
    assert detector.problem.message == "syntax error: unexpected end of file"


@pytest.mark.parametrize(
    ("code", "token"),
    [("fi\n", "fi"), ("if a; done\n", "done"), ("a; }\n", "}"), ("(a; b))\n", ")"), ("then\n", "then"), (";;\n", ";;")],
)
def test_a_closing_word_that_nothing_opened_can_never_become_valid(code: str, token: str) -> None:
    chunks, detector = detect(f"a\n\n{code}b\n", [3, 4])
    assert [chunk.source for chunk in chunks] == ["a\n"]
    assert detector.problem == SyntaxProblem(f"syntax error near unexpected token `{token}'", 3, 3 + len(code))
    assert detector.feed("c\n") == []
    assert detector.remainder.endswith("b\nc\n")


def test_repr_shows_the_state() -> None:
    detector = BashDetector()
    detector.feed("a\nif b")
    assert repr(detector) == "BashDetector(chunks=1, remainder='if b', problem=None)"
