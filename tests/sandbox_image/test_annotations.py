"""The chain on any Python: what 3.14's compiler stores is written out by hand."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox_image.annotations import AnnotationChain

VALUE, FAKE_GLOBALS = 1, 2


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> AnnotationChain:
    library = SimpleNamespace(
        Format=SimpleNamespace(VALUE_WITH_FAKE_GLOBALS=FAKE_GLOBALS),
        call_annotate_function=lambda annotate, kind: annotate(kind),
    )
    monkeypatch.setitem(sys.modules, "annotationlib", library)  # type: ignore[arg-type]
    monkeypatch.setattr("sandbox_image.annotations.sys", SimpleNamespace(version_info=(3, 14)))
    return AnnotationChain({})


def run_chunk(chain: AnnotationChain, annotations: dict[str, Any], reached: set[int]) -> None:
    """What a chunk with annotations leaves: the function asks the module which of its annotations were reached."""
    namespace = chain._namespace
    namespace["__conditional_annotations__"] = reached

    def annotate(format: Any) -> dict[str, Any]:
        now = namespace["__conditional_annotations__"]
        return {name: value for number, (name, value) in enumerate(annotations.items()) if number in now}

    namespace["__annotate__"] = annotate
    chain.extend()


def test_annotations_of_all_chunks_are_kept(chain: AnnotationChain) -> None:
    run_chunk(chain, {"x": int, "skipped": str}, {0})
    chain.extend()  # a chunk without annotations
    run_chunk(chain, {"y": str}, {0})
    run_chunk(chain, {"x": float}, {0})
    assert chain._namespace["__annotate__"](VALUE) == {"x": float, "y": str}
    assert chain._namespace["__conditional_annotations__"] == {0}
    with pytest.raises(NotImplementedError):
        chain._namespace["__annotate__"](FAKE_GLOBALS)


def test_a_cached_result_is_dropped_when_more_come(chain: AnnotationChain) -> None:
    run_chunk(chain, {"x": int}, {0})
    chain._namespace["__annotations__"] = {"x": int}
    run_chunk(chain, {"y": int}, {0})
    assert "__annotations__" not in chain._namespace


def test_another_program_begins_with_none(chain: AnnotationChain) -> None:
    run_chunk(chain, {"x": int}, {0})
    chain.clear()
    run_chunk(chain, {"y": int}, {0})
    assert chain._namespace["__annotate__"](VALUE) == {"y": int}
