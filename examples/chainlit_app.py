"""A chat in the browser. `pip install chainlit openai`, then

OPENAI_BASE_URL=http://localhost:8000/v1 OPENAI_API_KEY=none MODEL=your-model:eager chainlit run chainlit_app.py
"""

import os

import chainlit
from openai import AsyncOpenAI

client = AsyncOpenAI()
model = os.environ["MODEL"]


@chainlit.on_message
async def answer(question: chainlit.Message) -> None:
    reply = chainlit.Message(content="")
    messages = chainlit.chat_context.to_openai()
    # Leaving the stream, as Chainlit's stop button does, stops the model and its code.
    async with await client.chat.completions.create(model=model, messages=messages, stream=True) as stream:
        try:
            async for chunk in stream:
                if chunk.choices and (text := chunk.choices[0].delta.content):
                    await reply.stream_token(text)
        finally:
            await reply.update()
