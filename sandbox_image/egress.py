"""Supervisor. The way out of a sandbox without a network: a listener on its loopback whose other side is the gateway.

The supervisor opens the listener before any code of the user runs, hands it to the gateway over the control stream
(``SCM_RIGHTS``, with one byte, before the first frame), and forgets it. A socket stays in the network namespace in
which it was made: the sandbox connects to it, the gateway accepts and decides. Nothing inside carries bytes, so there
is nothing inside to be attacked, killed or limited.
"""

from __future__ import annotations

import socket
from typing import Final

#: Registered for Squid; in a namespace of its own nothing else has it.
PORT: Final = 3128
_BACKLOG: Final = 64
#: What goes with the listener.
GREETING: Final = b"\n"
_URL: Final = f"http://127.0.0.1:{PORT}"
_DIRECT: Final = "localhost,127.0.0.1,::1"

#: For user code: the names that curl, requests, urllib, httpx, pip and git look at.
ENVIRONMENT: Final = {
    "http_proxy": _URL,
    "https_proxy": _URL,
    "HTTP_PROXY": _URL,
    "HTTPS_PROXY": _URL,
    "no_proxy": _DIRECT,
    "NO_PROXY": _DIRECT,
}


def hand_over(stream_fd: int) -> None:
    """Open the listener and give it to the gateway, over its Unix socket.

    Raises:
        OSError: the stream is no Unix socket, or the port is taken.
    """
    with socket.socket(fileno=stream_fd) as stream, socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", PORT))
            listener.listen(_BACKLOG)
            socket.send_fds(stream, [GREETING], [listener.fileno()])
        finally:
            stream.detach()
