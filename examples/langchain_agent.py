"""An agent whose Python runs in Eager while the model writes it. `pip install langchain langchain-openai`, then

OPENAI_BASE_URL=http://localhost:8000/v1 OPENAI_API_KEY=none MODEL=your-model:eager \
    python langchain_agent.py "Six times seven?"
"""

import os
import sys

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI


def add_vat(price: float) -> float:
    """A price with value added tax. A tool of the app, which runs here."""
    return price * 1.2


agent = create_agent(ChatOpenAI(model=os.environ["MODEL"]), tools=[add_vat])
for part, _ in agent.stream({"messages": [("user", sys.argv[1])]}, stream_mode="messages"):
    print(part.text, end="", flush=True)
