"""Aliases of models: the upstream's name with a suffix (``EAGER_MODEL_SUFFIX``) asks for a rendered answer."""

from __future__ import annotations

from typing import Any


def without_suffix(model: str, suffix: str) -> tuple[str, bool]:
    """What the upstream calls a model, and whether its alias was asked for."""
    if suffix and model.endswith(suffix) and len(model) > len(suffix):
        return model.removesuffix(suffix), True
    return model, False


def with_aliases(models: Any, suffix: str) -> Any:
    """The upstream's list of models, each with its alias behind it."""
    listed = models.get("data") if isinstance(models, dict) else None
    if not suffix or not isinstance(listed, list):
        return models
    data = []
    for entry in listed:
        data.append(entry)
        if isinstance(entry, dict) and isinstance(id := entry.get("id"), str):
            data.append({**entry, "id": id + suffix})
    return {**models, "data": data}
