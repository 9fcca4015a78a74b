"""What pydantic finds wrong as an error of ours: the first problem, always a 400, since OpenAI never answers 422."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from app.errors import RequestError

#: How pydantic names members of a union, beside what is no identifier (``list[str]``).
UNION_MEMBERS = {"bool", "float", "int", "str"}

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], document: object, *, under: Iterable[str] = ()) -> Model:
    """``document`` as a ``model``. ``under`` are the fields of the request that it stands in.

    Raises:
        RequestError: it is none.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problem = error.errors()[0]
        raise _field_error(problem, _param((*under, *problem["loc"]))) from None


def body_error(error: RequestValidationError) -> RequestError:
    """What is wrong with a body, a query or a path that FastAPI has read."""
    problem = error.errors()[0]
    param = _param(problem["loc"][1:])
    match problem["type"]:
        case "json_invalid":
            reason = problem.get("ctx", {}).get("error", "invalid JSON")
            return RequestError(f"We could not parse the JSON body of your request: {reason}")
        case "missing" if param is None:
            return RequestError("The request has no body.", code="missing_required_parameter")
        case _ if param is None and isinstance(error.body, bytes):
            return RequestError("The body must be JSON, sent with 'Content-Type: application/json'.")
        case _:
            return _field_error(problem, param)


def _field_error(problem: Mapping[str, Any], param: str | None) -> RequestError:
    if problem["type"] == "missing":
        return RequestError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    return RequestError(f"Invalid value for '{param or 'body'}': {problem['msg']}.", param=param)


def _param(location: Iterable[str | int]) -> str | None:
    """``("messages", 0, "role")`` -> ``messages.0.role``. Names of a union's members are left out."""
    steps = [str(step) for step in location if isinstance(step, int) or _is_field(step)]
    return ".".join(steps) or None


def _is_field(step: str) -> bool:
    return step.isidentifier() and step not in UNION_MEMBERS
