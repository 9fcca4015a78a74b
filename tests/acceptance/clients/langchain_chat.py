"""LangChain's ``ChatOpenAI``, on chat completions and on Responses."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage, message_chunk_to_message
from langchain_openai import ChatOpenAI
from serve import INTERPRETER, OUTPUTS, PYTHON, URL, WEATHER, serve


def chat_model(model: str, key: str, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=URL, api_key=key, max_retries=0, timeout=60, stream_usage=True, **options)


def answered(runnable: Any, messages: list[Any], stream: bool) -> AIMessage:
    if not stream:
        return runnable.invoke(messages)
    first, *rest = runnable.stream(messages)
    return message_chunk_to_message(sum(rest, first))


def chat(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    message = answered(chat_model(model, key).bind_tools([PYTHON]), [HumanMessage(prompt)], stream)
    tokens = message.usage_metadata["total_tokens"]
    return {"text": message.text, "calls": message.tool_calls, "tokens": tokens}


def converse(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    runnable = chat_model(model, key).bind_tools([PYTHON, WEATHER])
    messages: list[Any] = [HumanMessage(prompt)]
    cities = []
    while True:
        message = answered(runnable, messages, stream)
        if not message.tool_calls:
            return {"text": message.text, "cities": cities}
        messages.append(message)
        for call in message.tool_calls:
            cities.append(call["args"]["city"])
            messages.append(ToolMessage("sunny", tool_call_id=call["id"]))


async def leave(model: str, prompt: str, key: str) -> dict[str, Any]:
    """Breaking out of ``astream`` is how LangChain's users stop; the generator's close closes the connection."""
    stream = chat_model(model, key).bind_tools([PYTHON]).astream([HumanMessage(prompt)])
    text = ""
    async for chunk in stream:
        text = chunk.text
        if text:
            break
    await stream.aclose()
    return {"text": text}


def respond(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    runnable = chat_model(model, key, use_responses_api=True, include=[OUTPUTS]).bind_tools([INTERPRETER])
    message = answered(runnable, [HumanMessage(prompt)], stream)
    blocks = message.content_blocks
    results = [block for block in message.content if block["type"] == "code_interpreter_call"]
    return {
        "text": message.text,
        "code": [call["code"] for call in results],
        "logs": [output["logs"] for call in results for output in call["outputs"]],
        "files": {
            annotation.get("filename") or annotation["value"]["filename"]: None
            for block in blocks
            if block["type"] == "text"
            for annotation in block.get("annotations", ())
        },
    }


serve(chat, converse, leave, respond)
