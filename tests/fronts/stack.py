"""What a front end is driven over: the scripted model, a gateway with a real sandbox, and what is written down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fronts import model, recorder
from tests.scenarios.servers import eager

KEY = "client-key"


@dataclass(frozen=True)
class Stack:
    """``base_url`` is all that a front end is told, beside the key."""

    base_url: str
    model: model.Model
    recorder: recorder.Recorder


@contextmanager
def running(folder: Path, *, tokens_per_s: float) -> Iterator[Stack]:
    """``folder`` is the gateway's."""
    with (
        model.running(1 / tokens_per_s) as upstream,
        eager(
            "serve",
            EAGER_UPSTREAM_BASE_URL=upstream.url,
            EAGER_API_KEYS=KEY,
            EAGER_DATA_DIR=str(folder),
            EAGER_CHECKOUT_TIMEOUT_S="60",
        ) as gateway,
        recorder.recording(gateway.url) as front,
    ):
        yield Stack(f"{front.url}/v1", upstream, front)
