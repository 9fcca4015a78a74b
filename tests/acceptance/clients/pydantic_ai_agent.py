"""pydantic-ai agents, on chat completions and on Responses."""

from __future__ import annotations

from typing import Any

from openai import AsyncOpenAI
from pydantic_ai import Agent, CodeExecutionTool, DeferredToolRequests, ExternalToolset, ToolDefinition
from pydantic_ai.capabilities import NativeTool
from pydantic_ai.messages import NativeToolCallPart, NativeToolReturnPart
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from serve import PYTHON, URL, serve

#: Declared to the model and run by nobody here: the gateway does.
CODE = ExternalToolset([ToolDefinition(name="python", parameters_json_schema=PYTHON["function"]["parameters"])])


def provider(key: str) -> OpenAIProvider:
    return OpenAIProvider(openai_client=AsyncOpenAI(base_url=URL, api_key=key, max_retries=0, timeout=60))


def agent(model: str, key: str) -> Agent[None, Any]:
    chat_model = OpenAIChatModel(model, provider=provider(key))
    return Agent(chat_model, toolsets=[CODE], output_type=[str, DeferredToolRequests], retries=0)


async def answered(of: Agent[None, Any], prompt: str, stream: bool) -> tuple[str, Any]:
    if not stream:
        result = await of.run(prompt)
        return result.output, result
    async with of.run_stream(prompt) as streamed:
        return "".join([text async for text in streamed.stream_text(delta=True)]), streamed


async def chat(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    text, result = await answered(agent(model, key), prompt, stream)
    calls = [
        part.tool_name for message in result.all_messages() for part in message.parts if part.part_kind == "tool-call"
    ]
    return {"text": text, "calls": calls, "tokens": result.usage.total_tokens}


async def converse(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    cities = []
    asked = agent(model, key)

    @asked.tool_plain
    def get_weather(city: str) -> str:
        cities.append(city)
        return "sunny"

    text, _ = await answered(asked, prompt, stream)
    return {"text": text, "cities": cities}


async def leave(model: str, prompt: str, key: str) -> dict[str, Any]:
    async with agent(model, key).run_stream(prompt) as streamed:
        async for text in streamed.stream_text(delta=True, debounce_by=None):
            return {"text": text}
    return {"text": ""}


async def respond(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    responses = OpenAIResponsesModel(model, provider=provider(key))
    settings = {"openai_include_code_execution_outputs": True, "openai_include_raw_annotations": True}
    asked = Agent(responses, capabilities=[NativeTool(CodeExecutionTool())], model_settings=settings)
    text, result = await answered(asked, prompt, stream)
    parts = [part for message in result.all_messages() for part in message.parts]
    return {
        "text": text,
        "code": [part.args_as_dict()["code"] for part in parts if isinstance(part, NativeToolCallPart)],
        "logs": [log for part in parts if isinstance(part, NativeToolReturnPart) for log in part.content["logs"]],
        "files": {
            annotation["filename"]: None
            for part in parts
            if part.part_kind == "text"
            for annotation in (part.provider_details or {}).get("annotations", ())
        },
    }


serve(chat, converse, leave, respond)
