"""Scripts for bash: written ones, and any number of generated ones."""

from __future__ import annotations

from random import Random

#: Each is a script that shows what could tell a script fed piece by piece from ``bash main.sh``.
WRITTEN = [
    # Statuses.
    "false\necho $?\n",
    "(exit 3)\necho $?\necho $?\n",
    "grep -q x /dev/null\nrc=$?\necho $rc\n",
    "false | true\necho ${PIPESTATUS[0]} ${PIPESTATUS[1]} $?\n",
    "set -o pipefail\nfalse | cat\necho $?\n",
    "true | false | true\necho ${PIPESTATUS[@]}\necho ${PIPESTATUS[@]}\n",
    "! true\necho $?\n",
    "nosuch\necho $?\n",
    "x=$(exit 7)\necho $?\n",
    "x=5\necho $?\nlocal y\necho $?\n",
    "echo $?\n",
    "exit 5\necho never\n",
    "false\n",
    "(exit 9)",
    "kill -9 $$\n",
    "f() { return 4; }\nf\necho $?\nreturn 2\necho $?\n",
    # $_ and what else a command leaves behind.
    "echo a b c\necho $_\nmkdir -p d/e\ncd $_ && pwd | sed 's/.*d/d/'\n",
    "echo $_ | sed 's/.*bash/bash/'\n",
    "echo $0 ${BASH_SOURCE[0]} ${#BASH_SOURCE[@]} $# $- $SHLVL $BASH_SUBSHELL\n",
    "echo $LINENO\n\n# a comment\necho $LINENO\n",
    "f() {\n  echo $LINENO ${FUNCNAME[*]} ${BASH_LINENO[*]} ${BASH_SOURCE[*]}\n  caller 0\n}\nf\n",
    "cat <<EOF\n$LINENO\nEOF\necho $LINENO; echo \\\n  $LINENO\n",
    'echo "[${OLDPWD-unset}]"\ncd /\necho $OLDPWD | wc -l\n',
    # Options.
    "set -e\necho a\nfalse\necho never\n",
    "set -e\nif false; then :; fi\nfalse || true\nfalse && true\necho on\n(false; echo in)\necho never\n",
    "set -e\nf() { false; echo in f; }\nf || echo caught\nx=$(false)\necho never\n",
    "set -u\necho ${x-unset}\necho $x\necho never\n",
    "set -eo pipefail\ntrue | true\nfalse | true\necho never\n",
    "set -x\nx=1\necho $x | cat\nf() { :; }\nf\n{ set +x; } 2>/dev/null\necho $?\n",
    "set -f\necho *\nset +f\nset -C\necho a >f\necho b >f\necho $?\ncat f\n",
    "set -n\necho never\n",
    "set -- a 'b c' d\necho $# $2\nshift\necho \"$@\"\nset -o | grep -E 'errexit|posix|history|monitor'\n",
    "shopt -s expand_aliases\nalias ll='echo alias'\nll x\nshopt -s extglob\n[[ abc == @(abc|d) ]] && echo yes\n",
    'shopt -s lastpipe\necho a | read x\necho "<$x>"\n',
    # Traps.
    "trap 'echo bye $?' EXIT\necho a\n(exit 3)\n",
    "trap 'echo bye $?' EXIT\nexit 4\n",
    "trap 'echo err $? $LINENO' ERR\nfalse\ntrue\n(exit 3)\nif false; then :; fi\n",
    "set -e\ntrap 'echo err $LINENO' ERR\ntrap 'echo exit $?' EXIT\nfalse\necho never\n",
    "set -E\ntrap 'echo err in ${FUNCNAME[0]}' ERR\nf() { false; true; }\nf\n",
    "trap 'echo \"debug: $BASH_COMMAND\"' DEBUG\nx=1\necho $x\ntrap - DEBUG\necho y\n",
    "trap 'echo \"$LINENO: $BASH_COMMAND\"' DEBUG\necho a\n\necho b\n",
    "trap 'echo return' RETURN\nf() { :; }\nf\necho b\n",
    "trap 'echo usr1' USR1\nkill -USR1 $$\necho after\ntrap -p\n",
    "trap 'echo term; exit 7' TERM\nkill $$\necho never\n",
    "trap '' INT\nkill -INT $$\necho on\ntrap - INT\n",
    "cleanup() { rm -f tmp.$$; echo cleaned; }\ntrap cleanup EXIT\ntouch tmp.$$\nls tmp.* | wc -l\n",
    "trap 'echo one' EXIT\n(trap 'echo two' EXIT; echo sub)\ntrap - EXIT\necho end\n",
    # Functions.
    'f() {\n  local x=1\n  y=2\n  return 3\n}\nf\necho $? "$x" $y\nunset -f f\nf\n',
    "f() ( cd /; exit 2 )\nf\necho $? ${PWD##*/} | wc -w\n",
    "fact() { if (( $1 < 2 )); then echo 1; else echo $(( $1 * $(fact $(( $1 - 1 ))) )); fi; }\nfact 6\n",
    "function g { echo $FUNCNAME $1; }\ng a\ndeclare -f g\ntype -t g\n",
    # Redirections.
    "exec 3>out\necho a >&3\nexec 3>&-\ncat out\necho b >&3\necho $?\n",
    "exec 4>&1 >out\necho hidden\nexec >&4 4>&-\necho shown\ncat out\n",
    "exec 2>&1\nnosuch\n",
    "printf 'a\\nb\\nc\\n' >f\nwhile read -r l; do echo \"<$l>\"; done <f\nexec <f\nread x\nread y\necho $y $x\n",
    'read x\necho $? "<$x>"\ncat\necho end\n',
    "exec echo replaced\necho never\n",
    "exec nosuch\necho never\n",
    "{ echo a; nosuch; } >f 2>&1\nwc -l <f\nls nosuchfile 2>/dev/null || echo missing\n",
    "diff <(echo a) <(echo b)\necho $?\ntee >(cat >g) <<<x >/dev/null\nuntil [ -s g ]; do sleep 0.01; done\ncat g\n",
    # Here-documents.
    "cat <<EOF\na $((1+1)) `echo b` \\$x\nEOF\ncat <<'EOF'\n$x `y`\nEOF\ncat <<-X\n\ta\n\tX\necho end\n",
    'cat <<A; cat <<B\na\nA\nb\nB\nwhile read -r x; do\n  echo "[$x]"\ndone <<E\n1\n2\nE\n',
    "cat <<EOF\nnever ended\n",
    "cat <<EOF\nnever ended",
    "if true; then\ncat <<X\nfi\nX\nfi\necho on\n",
    # Jobs.
    "sleep 0.05 &\nwait\necho $?\n(exit 3) &\nwait $!\necho $?\n",
    "(sleep 0.05; exit 2) & p=$!\n(exit 1) & q=$!\nwait $p; echo $?\nwait $q; echo $?\nwait\necho $?\n",
    "sleep 5 &\nkill $!\nwait $!\necho $?\n",
    "for i in 1 2 3; do (sleep 0.0$i; echo $i) & done\nwait\njobs >out\necho done\n",
    "coproc cat\necho hi >&${COPROC[1]}\nread -r x <&${COPROC[0]}\necho $x\n",
    "wait -n\necho $?\ntrue &\nwait -n\necho $?\n",
    # Nothing of ours.
    "env | grep -i eager\ndeclare -p | grep -i eager\nset | grep -i eager\nhistory\n",
    "compgen -v | grep -i eager\necho $?\n",
    "compgen -v | grep -v '^_$\\|^PIPESTATUS$' | sort | tr '\\n' ' '\ncompgen -A function\n",
    "ls /proc/$$/fd\nls /proc/self/fd\n",
    "tr '\\0' ' ' </proc/$$/cmdline\ntrap -p\nalias\njobs\n",
    # Syntax.
    "echo a\nfi\necho never\n",
    "echo a; )\n",
    "if true; then\n echo a\n",
    "echo 'never ended\n",
    "x=$((1/0))\necho $?\n",
    "echo ${x:?needed}\necho never\n",
    "readonly r=1\nr=2\necho $? $r\n",
    "echo a \\\n  b\\\nc\n# comment \\\necho d\n",
    "case x in\n  y) echo y;;\n  *)\n    echo other;;&\n  x) echo x\nesac\n",
    "a=(1 2 'x y')\necho ${#a[@]} \"${a[2]}\"\ndeclare -A m=([k]=v)\necho ${m[k]} ${!m[@]}\n",
    "for ((i=0;i<3;i++)); do echo -n $i; done\necho\n",
    "while getopts ab: o; do echo $o $OPTARG; done\n",
    "eval 'echo $LINENO; false'\necho $?\n. /dev/stdin <<<'echo sourced $LINENO'\necho $LINENO\n",
    "bash -c 'echo $0 $1; exit 3' n a\necho $?\nbash <<'X'\necho inner $LINENO\nX\nsource /nosuch\necho $?\n",
    "time -p true 2>/dev/null\necho $?\nselect x in a; do break; done </dev/null\necho $?\n",
    "printf '%s\\n' a b | while read x; do echo $x; exit 3; done\necho $? ${PIPESTATUS[@]}\n",
    "echo \"a\nb\" | cat\necho $'tab\\there'\necho ünïcödé 日本\nprintf '%d\\n' x\necho $?\n",
    "umask\nulimit -c\necho $PPID | wc -w\necho ${BASH_VERSINFO[0]} | wc -w\necho $BASH_EXECUTION_STRING\n",
    "\n\n  # only\n",
    "",
]

_NAMES = ["x", "y", "z", "count"]


class Scripts:
    """Generated scripts: ``next(scripts)`` is the next one of the seed. Each runs a few hundred commands at most: loops
    go round twice, and no function calls another, or the calls of one would multiply those of the next."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._functions = self._loops = 0
        self._in_function = False

    def __iter__(self) -> Scripts:
        return self

    def __next__(self) -> str:
        self._functions = self._loops = 0
        self._in_function = False
        parts = [":\n"]  # before it bash has no PIPESTATUS, and ours has
        parts += [self._option() for _ in range(self._random.choice((0, 0, 1, 2)))]
        parts += [self._line(2) for _ in range(self._random.randrange(2, 12))]
        script = "".join(parts)
        return script.rstrip("\n") if self._random.random() < 0.1 else script

    def _option(self) -> str:
        return self._random.choice(
            [
                "set -e\n",
                "set -u\n",
                "set -o pipefail\n",
                "set -E\n",
                "set -T\n",
                "trap 'echo err $? $LINENO' ERR\n",
                "trap 'echo exit $?' EXIT\n",
                "trap 'echo debug $LINENO' DEBUG\n",
                "set -x\n",
                "shopt -s lastpipe\n",
                "exec 2>&1\n",
                "set -- a 'b c'\n",
                "x=1\n",
            ]
        )

    def _line(self, depth: int) -> str:
        pick = self._random.random()
        if pick < 0.06:
            return self._random.choice(["\n", "# why\n", "  # why not\n\n", "\t\n"])
        if pick < 0.3 and depth:
            return self._compound(depth - 1)
        if pick < 0.36:
            return self._heredoc()
        ending = "\n" if pick < 0.92 else self._random.choice([" # so\n", ";\n", "  \n", " &\nwait\n"])
        return self._list() + ending

    def _list(self) -> str:
        text = self._pipeline()
        while self._random.random() < 0.3:
            text += self._random.choice([" && ", " || ", "; ", " &&\n  ", " ||\n"]) + self._pipeline()
        return text

    def _pipeline(self) -> str:
        text = self._command()
        while self._random.random() < 0.2:
            text += self._random.choice([" | ", " |\n  "]) + self._random.choice(
                ["cat", "wc -l", "grep nosuch", "tr a b"]
            )
        return ("! " if self._random.random() < 0.08 else "") + text

    def _command(self) -> str:
        name = self._random.choice(_NAMES)
        return self._random.choice(
            [
                "true",
                "false",
                f"(exit {self._random.randrange(4)})",
                'echo "$?"',
                'echo "$? ${PIPESTATUS[*]}"',
                'echo "$_"',
                'echo "at $LINENO"',
                f"echo {name} ${{{name}-unset}}",
                f"{name}={self._random.randrange(9)}",
                f"{name}=$(echo sub; exit {self._random.randrange(3)})",
                f"(( {name} = {name} + 1 ))",
                f"[[ ${{{name}-}} == 1 ]]",
                "nosuch",
                self._call(),
                'echo "$#:$*"',
                "shift 2>/dev/null",
                "cd . >/dev/null",
                ": ignored",
                "echo to stderr >&2",
                f"echo {name} >out.txt",
                "cat out.txt 2>/dev/null",
                "test -f out.txt",
                "bash -c 'exit 3'",
                f"{{ echo group; (exit {self._random.randrange(2)}); }}",
                "echo 'a\nb'",
                'eval "echo eval \\$LINENO; false"',
                f"read -r {name} <<<'1 2'",
                "ulimit -c",
            ]
        )

    def _call(self) -> str:
        known = self._functions and not self._in_function
        return f"f{self._random.randrange(self._functions)} 2>/dev/null" if known else "f 2>/dev/null"

    def _body(self, depth: int) -> str:
        lines = [self._line(depth) for _ in range(self._random.randrange(1, 4))]
        return "".join("  " + line if not line.startswith("cat <<") else line for line in lines) + "  :\n"

    def _compound(self, depth: int) -> str:
        kind = self._random.randrange(8)
        if kind == 3:
            return self._function(depth)
        body = self._body(depth)
        match kind:
            case 0:
                return f"if {self._list()}; then\n{body}else\n{self._body(depth)}fi\n"
            case 1:
                return f"for i in 1 2; do\n{body}done{self._random.choice(['', ' | cat', ' >out.txt'])}\n"
            case 2:
                self._loops += 1
                return f"n{self._loops}=0\nwhile (( n{self._loops}++ < 2 )); do\n{body}done\n"
            case 4:
                return f"(\n{body})\n"
            case 5:
                return f"{{\n{body}}} 2>&1\n"
            case 6:
                return f"case ${{x-}} in\n  1)\n{body}    ;;\n  *) {self._command()} ;;\nesac\n"
            case _:
                return f"if {self._command()}; then {self._command()}; fi\n"

    def _function(self, depth: int) -> str:
        outside, self._in_function = self._in_function, True
        body = self._body(depth)
        self._in_function = outside
        self._functions += 1
        return f"f{self._functions - 1}() {{\n{body}  return {self._random.randrange(3)}\n}}\n"

    def _heredoc(self) -> str:
        word = self._random.choice(["EOF", "'EOF'", "X"])
        text = self._random.choice(["a $LINENO $?\n", "fi\ndone\n", "$(echo sub)\n", ""])
        return f"cat <<{word}{self._random.choice(['', ' | tr a b', ' && echo and'])}\n{text}{word.strip(chr(39))}\n"
