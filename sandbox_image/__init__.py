"""The program inside a sandbox: a supervisor that owns the control channel, and the interpreter it forks.

The first word of a module's docstring names who runs it. *Supervisor*: the first process, which is trusted. *Program*:
the process of the user's code. *Both*: both of them, or the zygote that the one is and the other is forked from.
"""
