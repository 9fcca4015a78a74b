"""The body of ``POST /v1/responses``. What we do not know is accepted and left alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.schemas import MAX_MESSAGES, MAX_TOOLS, EagerOptions
from app.api.wellformed import well_formed
from app.store.item_parts import Item


class ResponsesRequest(BaseModel):
    """Items and tools are checked where they are translated (``messages.py``, ``tools.py``)."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1)
    input: str | Annotated[list[Item], Field(max_length=MAX_MESSAGES)]
    stream: bool | None = False
    instructions: str | None = None
    tools: list[dict[str, Any]] = Field(default_factory=list, max_length=MAX_TOOLS)
    tool_choice: str | dict[str, Any] = "auto"
    include: list[str] | None = None
    previous_response_id: str | None = Field(None, min_length=1, max_length=128)
    store: bool | None = True
    max_output_tokens: int | None = Field(None, ge=1)
    max_tool_calls: int | None = Field(None, ge=0)
    service_tier: str | None = Field(None, max_length=64)
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    parallel_tool_calls: bool | None = True
    metadata: dict[str, str] | None = None
    reasoning: dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    truncation: Literal["auto", "disabled"] | None = "disabled"
    user: str | None = None
    background: bool | None = False
    conversation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
    eager: EagerOptions = Field(default_factory=EagerOptions)

    @model_validator(mode="before")
    @classmethod
    def _mend(cls, given: Any) -> Any:
        """A field that is null was not given: some languages' clients send all that they know."""
        body = well_formed(given)
        return {name: value for name, value in body.items() if value is not None} if isinstance(body, dict) else body
