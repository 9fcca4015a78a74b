from __future__ import annotations

import asyncio
import json

import pytest
from msgspec.structs import replace

from app.extraction.deltas import decode_delta
from app.extraction.turn import TurnReader
from app.extraction.turn_items import CodeText
from loadtests.load import LoadFailed, middle, request_body, summarize
from loadtests.load_client import LoadClient, Stream, run_streams
from loadtests.load_upstream import PROSE_MARKER, STATEMENT, TOKENS_PER_STATEMENT, LoadUpstream, frames, sent_s


class Connection(asyncio.Transport):
    closed = False

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_the_cost_of_a_load() -> None:
    streams = [
        Stream("0", asked_s=0.9, arrived_s=[1.0, 1.1, 1.2], ended=True),
        Stream("1", asked_s=0.8, arrived_s=[1.0, 1.2, 1.4], ended=True),
        Stream("2"),
    ]
    sent = {"0": [0.999, 1.099, 1.199], "1": [0.999, 1.099, 1.2]}
    load = summarize("ours", streams, sent, cpu_s=0.0006, tps=10, tokens_each=3)
    assert (load.streams, load.tokens, load.complete) == (3, 6, 2)
    assert load.cpu_us == pytest.approx(100)
    assert load.added_p50_ms == pytest.approx(1)
    assert load.added_p99_ms == pytest.approx(200)
    assert load.ttft_ms == pytest.approx(150)
    assert load.tokens_per_s == pytest.approx(6 / 0.4)
    assert load.slowest_pace == 0
    assert load.fairness == 0


def test_of_several_loads_the_medians_count() -> None:
    streams, sent = [Stream("0", arrived_s=[1.0, 1.1], ended=True)], {"0": [0.99, 1.09]}
    loads = [summarize("ours", streams, sent, cpu_s=cpu_s, tps=10, tokens_each=2) for cpu_s in (0.0002, 0.0009, 0.0004)]
    assert middle(loads) == loads[2]
    assert middle([*loads[:2], replace(loads[2], complete=0)]).complete == 0


def test_a_load_of_which_nothing_arrives_has_failed() -> None:
    with pytest.raises(LoadFailed, match=r"HTTP/1\.1 500"):
        summarize("ours", [Stream("0", status=b"HTTP/1.1 500")], {}, cpu_s=1, tps=10, tokens_each=3)


def test_the_code_of_a_load_is_whole_statements() -> None:
    count = 3 * TOKENS_PER_STATEMENT
    reader, code = TurnReader(new_id=str), []
    for frame in frames("load-0-code@50", "code", count):
        for line in frame.split(b"\n"):
            if line.startswith(b"data: {"):
                items = reader.feed(decode_delta(line.removeprefix(b"data: ")))
                code += [item.text for item in items if isinstance(item, CodeText)]
    assert "".join(code) == 3 * STATEMENT
    assert len(code) == count
    assert len(STATEMENT) % 4 == 0


@pytest.mark.parametrize("size", [1, 2, 5, 7, 10_000])
async def test_tokens_are_counted_however_the_answer_is_cut(size: int) -> None:
    answer = b"".join(frames("load-0-prose@50", "prose", 12))
    stream = Stream("0")
    client = LoadClient(stream, b"", PROSE_MARKER, b"DONE]")
    connection = Connection()
    client.connection_made(connection)
    for at in range(0, len(answer), size):
        client.data_received(answer[at : at + size])
    assert len(stream.arrived_s) == 12
    assert stream.ended
    assert connection.closed


async def test_streams_from_upstream_to_client() -> None:
    server = await asyncio.get_running_loop().create_server(LoadUpstream, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat/completions"
        bodies = {id: request_body(id, "prose", tps=1000, tokens=5, extra={}) for id in ("0", "1")}
        streams = await run_streams(url, bodies, marker=PROSE_MARKER, last=b"DONE]", spread_s=0, limit_s=30)
    load = summarize("no proxy", streams, sent_s, cpu_s=0, tps=1000, tokens_each=5)
    assert load.complete == 2
    assert json.dumps(sent_s)
    sent_s.clear()
