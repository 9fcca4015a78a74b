"""The demo: upstream, gateway and sandbox in one command, and a live timeline of one request in the terminal."""
