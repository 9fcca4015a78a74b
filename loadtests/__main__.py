"""``python -m loadtests``: the same as ``eager bench``."""

from loadtests.cli import main

main()
