"""What the tools at ``/mcp`` are called, and take: read by models, so said in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RunCode(_Arguments):
    code: StrictStr = Field(description="A program. The value of a last expression is shown too.")
    session: StrictStr | None = Field(
        None, description="A session of before, whose variables and files are there still. A new one if left out."
    )
    language: Literal["python", "bash"] = "python"
    timeout_s: float | None = Field(None, gt=0, description="The code is stopped after so many seconds.")


class Nothing(_Arguments):
    pass


class OfSession(_Arguments):
    session: StrictStr = Field(description="Id of the session.")


class OfFile(OfSession):
    path: StrictStr = Field(min_length=1, description="Path of the file in the work folder.")


class WriteFile(OfFile):
    content: StrictStr
    encoding: Literal["utf-8", "base64"] = Field("utf-8", description="How `content` tells the bytes.")


@dataclass(frozen=True, slots=True)
class ToolDescription:
    arguments: type[_Arguments]
    text: str
    read_only: bool = False


TOOLS = {
    "run_code": ToolDescription(
        RunCode,
        "Runs Python or bash in a sandbox, and returns what it printed and showed, errors and figures. Pass the "
        "session that the first answer names to go on with its variables and files. Do not count on a network.",
    ),
    "create_session": ToolDescription(Nothing, "Makes a session: an interpreter with a work folder of its own."),
    "list_sessions": ToolDescription(Nothing, "Lists your sessions.", read_only=True),
    "delete_session": ToolDescription(OfSession, "Ends a session, whatever it runs. Its files are gone."),
    "list_files": ToolDescription(OfSession, "Lists the files in a session's work folder.", read_only=True),
    "read_file": ToolDescription(OfFile, "Reads a file of a session: a text, a picture, or bytes.", read_only=True),
    "write_file": ToolDescription(WriteFile, "Writes a file into a session's work folder; folders that lack are made."),
    "delete_file": ToolDescription(OfFile, "Deletes a file of a session."),
}
