from app.pipeline.usage import add_usage, totals


def test_numbers_and_details_are_summed_and_marks_stay() -> None:
    first = {"total_tokens": 18, "completion_tokens_details": {"reasoning_tokens": 2}, "estimated": True}
    second = {"total_tokens": 18, "prompt_tokens": 3, "completion_tokens_details": None}
    assert add_usage(first, second) == {
        "total_tokens": 36,
        "prompt_tokens": 3,
        "completion_tokens_details": {"reasoning_tokens": 2},
        "estimated": True,
    }


def test_a_missing_side_counts_nothing() -> None:
    assert add_usage(None, None) is None
    assert add_usage(None, {"total_tokens": 1}) == {"total_tokens": 1}
    assert add_usage({"total_tokens": 1}, None) == {"total_tokens": 1}


def test_what_the_upstream_did_not_count_counts_nothing() -> None:
    assert totals(None) == (0, 0, 0)
    assert totals({"prompt_tokens": 5, "completion_tokens": 3.0}) == (5, 3, 8)
    assert totals({"prompt_tokens": "5", "completion_tokens": None, "total_tokens": float("nan")}) == (0, 0, 0)
    assert totals({"completion_tokens": 3, "total_tokens": 9}) == (0, 3, 9)
