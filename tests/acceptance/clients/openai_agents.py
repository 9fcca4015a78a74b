"""The OpenAI Agents SDK, on chat completions and on Responses."""

from __future__ import annotations

from typing import Any

import agents
from agents import Agent, CodeInterpreterTool, ModelSettings, Runner, function_tool
from openai import AsyncOpenAI
from serve import INTERPRETER, OUTPUTS, URL, serve

agents.set_tracing_disabled(True)


@function_tool
def python(code: str) -> str:
    """Run Python."""
    raise AssertionError("the gateway's to run")


def client(key: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=URL, api_key=key, max_retries=0, timeout=60)


def agent(model: str, key: str, *tools: Any) -> Agent[None]:
    chat_model = agents.OpenAIChatCompletionsModel(model=model, openai_client=client(key))
    return Agent(name="a", model=chat_model, tools=[python, *tools], model_settings=ModelSettings(include_usage=True))


async def answered(of: Agent[None], prompt: str, stream: bool) -> Any:
    if not stream:
        return await Runner.run(of, prompt)
    result = Runner.run_streamed(of, prompt)
    async for _ in result.stream_events():
        pass
    return result


async def chat(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    result = await answered(agent(model, key), prompt, stream)
    calls = [item.raw_item.name for item in result.new_items if item.type == "tool_call_item"]
    return {"text": result.final_output, "calls": calls, "tokens": result.context_wrapper.usage.total_tokens}


async def converse(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    cities = []

    @function_tool
    def get_weather(city: str) -> str:
        cities.append(city)
        return "sunny"

    result = await answered(agent(model, key, get_weather), prompt, stream)
    return {"text": result.final_output, "cities": cities}


async def leave(model: str, prompt: str, key: str) -> dict[str, Any]:
    result = Runner.run_streamed(agent(model, key), prompt)
    text = ""
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            text = event.data.delta
            result.cancel()
    return {"text": text}


async def respond(model: str, prompt: str, stream: bool, key: str) -> dict[str, Any]:
    responses = agents.OpenAIResponsesModel(model=model, openai_client=client(key))
    settings = ModelSettings(response_include=[OUTPUTS])
    tools = [CodeInterpreterTool(tool_config=INTERPRETER)]
    result = await answered(Agent(name="a", model=responses, tools=tools, model_settings=settings), prompt, stream)
    items = [item for response in result.raw_responses for item in response.output]
    calls = [item for item in items if item.type == "code_interpreter_call"]
    parts = [part for item in items if item.type == "message" for part in item.content]
    return {
        "text": result.final_output,
        "code": [call.code for call in calls],
        "logs": [output.logs for call in calls for output in call.outputs],
        "files": {annotation.filename: None for part in parts for annotation in part.annotations},
    }


serve(chat, converse, leave, respond)
