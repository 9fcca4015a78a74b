"""Request bodies. What we do not know is passed on to the upstream untouched."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)

from app.api.wellformed import well_formed
from app.errors import RequestError

#: Of one request. OpenAI takes 128 tools.
MAX_TOOLS: Final = 1_024
MAX_MESSAGES: Final = 10_000


class EagerOptions(BaseModel):
    """The ``eager`` object of a request. None means the deployment's default."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["eager", "serial"] = "eager"
    on_error: Literal["interrupt", "continue", "repair"] | None = None
    repair_from: Literal["partial", "full"] = "partial"
    max_repairs: int | None = Field(None, ge=0)
    rollback: Literal["off", "on_error", "on_syntax_error"] | None = None
    events: bool | None = None
    session: str | None = Field(None, min_length=1, max_length=128)
    sources: list[Literal["tool", "fence", "tag"]] | None = None
    tools: list[str] | Literal["off"] | None = None
    gate: Literal["paper", "permissive", "off"] | None = None
    max_turns: int | None = Field(None, ge=1)
    timeout_s: float | None = Field(None, gt=0)
    render: Literal["none", "markdown", "interleaved"] | None = None
    code_tool: Literal["declared", "always"] | None = None
    hint: Literal["auto", "off"] | None = None


def _given(options: Any) -> Any:
    """Null is no options, as it is no value for OpenAI's own fields."""
    return {} if options is None else options


#: As it came: 1 stays 1, and "1" is no number.
Number = StrictInt | StrictFloat


class CompletionRequest(BaseModel):
    """A chat-completions request with our own object in it.

    OpenAI's common fields are checked, since not every upstream does; nothing is converted. The rest passes.
    """

    model_config = ConfigDict(extra="allow")

    model: StrictStr = Field(min_length=1)
    messages: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: StrictBool | None = False
    stream_options: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: StrictStr | dict[str, Any] | None = None
    parallel_tool_calls: StrictBool | None = None
    n: StrictInt | None = Field(None, ge=1)
    temperature: Number | None = None
    top_p: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    max_tokens: StrictInt | None = None
    max_completion_tokens: StrictInt | None = None
    seed: StrictInt | None = None
    stop: StrictStr | list[StrictStr] | None = None
    logprobs: StrictBool | None = None
    top_logprobs: StrictInt | None = None
    response_format: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    user: StrictStr | None = None
    eager: Annotated[EagerOptions, BeforeValidator(_given)] = Field(default_factory=EagerOptions)

    _mend = model_validator(mode="before")(well_formed)

    def upstream_body(self) -> dict[str, Any]:
        """What the upstream is sent: everything that was given, but our own object. Its values are those of the
        request, not copies: a conversation may hold a hundred thousand."""
        given = {**self.__dict__, **(self.model_extra or {})}
        return {name: value for name, value in given.items() if name in self.model_fields_set and name != "eager"}

    @property
    def wants_usage(self) -> bool:
        return (self.stream_options or {}).get("include_usage") is True

    def require_one_choice(self) -> None:
        """
        Raises:
            RequestError: several answers were asked for; their code would share one session.
        """
        if self.n is not None and self.n > 1:
            raise RequestError("n > 1 is not possible while code is executed", param="n", code="unsupported_parameter")


class ExecuteRequest(BaseModel):
    """``POST /v1/sessions/{id}/execute``."""

    model_config = ConfigDict(extra="forbid")

    code: str
    stream: bool = False
    language: Literal["python", "bash"] = "python"
    timeout_s: float | None = Field(None, gt=0)

    _mend = model_validator(mode="before")(well_formed)
