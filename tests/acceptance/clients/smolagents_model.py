"""smolagents' ``OpenAIModel``: what its agents are made of."""

from __future__ import annotations

from typing import Any

from serve import URL, serve
from smolagents import ChatMessage, MessageRole, OpenAIModel, Tool
from smolagents.models import agglomerate_stream_deltas


class Python(Tool):
    name = "python"
    description = "Run Python."
    inputs = {"code": {"type": "string", "description": "The code."}}
    output_type = "string"

    def forward(self, code: str) -> str:
        raise AssertionError("the gateway's to run")


def model_of(model: str, key: str) -> OpenAIModel:
    return OpenAIModel(model, api_base=URL, api_key=key, client_kwargs={"max_retries": 0, "timeout": 60}, retry=False)


def asked(prompt: str) -> dict[str, Any]:
    message = ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": prompt}])
    return {"messages": [message], "tools_to_call_from": [Python()], "tool_choice": "auto"}


def chat(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    if stream:
        message = agglomerate_stream_deltas(list(model_of(model, key).generate_stream(**asked(prompt))))
    else:
        message = model_of(model, key).generate(**asked(prompt))
    calls = [call.function.name for call in message.tool_calls or ()]
    return {"text": message.content, "calls": calls, "tokens": message.token_usage.total_tokens}


def leave(model: str, prompt: str, key: str) -> dict[str, Any]:
    """Its generator keeps the SDK's stream to itself: leaving means closing the connection."""
    of = model_of(model, key)
    stream = of.generate_stream(**asked(prompt))
    text = next(delta.content for delta in stream if delta.content)
    stream.close()
    of.client.close()
    return {"text": text}


serve(chat, leave)
