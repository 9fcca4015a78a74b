"""Code that fails as a whole leaves the session as it was, over HTTP and real sandboxes."""

from __future__ import annotations

from typing import Any

import httpx

from tests.scenarios.client import JsonEvent, body, collect, of_type, text


async def ask(gateway: httpx.AsyncClient, session: str, code: str, **eager: Any) -> list[JsonEvent]:
    return await collect(gateway, body("replay@0", f"```python\n{code}```", session=session, **eager))


async def opened(gateway: httpx.AsyncClient) -> str:
    response = await gateway.post("/v1/sessions", json={})
    return str(response.json()["id"])


async def test_a_block_that_is_sent_again_does_not_double_its_effects(gateway: httpx.AsyncClient) -> None:
    session = await opened(gateway)
    await ask(gateway, session, "x = []\n")
    code = "x.append(1)\nopen('log', 'a').write('line')\nprint('ran')\n"
    failed = await ask(gateway, session, code + "y = = 1\n", rollback="on_syntax_error")
    (rollback,) = of_type(failed, "rollback")
    assert (rollback["status"], rollback["reason"]) == ("done", "syntax_error")
    await ask(gateway, session, code, rollback="on_syntax_error")
    found = await ask(gateway, session, "print(x, open('log').read())\n")
    assert text(found, "stdout") == "[1] line\n"
    await gateway.delete(f"/v1/sessions/{session}")


async def test_only_what_is_asked_for_is_undone(gateway: httpx.AsyncClient) -> None:
    session = await opened(gateway)
    await ask(gateway, session, "x = []\n")
    for policy in ("off", "on_syntax_error", "on_error"):
        await ask(gateway, session, "x.append(1)\n1 / 0\n", rollback=policy)
    found = await ask(gateway, session, "print(len(x))\n")
    assert text(found, "stdout") == "2\n"
    await gateway.delete(f"/v1/sessions/{session}")


async def test_a_program_with_threads_is_told_that_it_cannot_be_undone(gateway: httpx.AsyncClient) -> None:
    session = await opened(gateway)
    await ask(
        gateway, session, "import threading\nhold = threading.Event()\nthreading.Thread(target=hold.wait).start()\n"
    )
    found = await ask(gateway, session, "x = 1\n1 / 0\n", rollback="on_error")
    (rollback,) = of_type(found, "rollback")
    assert (rollback["status"], rollback["reason"]) == ("impossible", "other threads are running")
    assert text(await ask(gateway, session, "print(x)\n"), "stdout") == "1\n"
    await gateway.delete(f"/v1/sessions/{session}")


async def test_chat_completions_undo_what_does_not_compile(gateway: httpx.AsyncClient) -> None:
    session = await opened(gateway)
    await ask(gateway, session, "x = []\n")
    request = body("replay@0", "```python\nx.append(1)\ny = = 1\n```", session=session, stream=False, max_turns=1)
    request["eager"]["events"] = True
    answer = await gateway.post(
        "/v1/chat/completions", json={**request, "eager": {**request["eager"], "sources": ["fence"]}}
    )
    assert answer.status_code == 200, answer.text
    found = await ask(gateway, session, "print(x)\n")
    assert text(found, "stdout") == "[]\n"
    await gateway.delete(f"/v1/sessions/{session}")
