"""The program inside a sandbox: a supervisor that owns the control channel and the interpreter it forks."""
