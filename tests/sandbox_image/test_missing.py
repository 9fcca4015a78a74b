from pathlib import Path

from sandbox_image import missing
from tests.sandbox_image.zygote import Interpreter

SETS = Path(missing.__file__).with_name("sets")


def names(file: str) -> set[str]:
    lines = (SETS / file).read_text().splitlines()
    return {line for line in lines if line and not line.startswith(("#", "-"))}


def test_all_of_the_set_is_known() -> None:
    assert set(missing.FULL.values()) == names("full.in") - names("core.in")


def test_a_module_of_a_larger_set_is_told_in_a_note(session: Interpreter) -> None:
    turn = session.run("import lightgbm.basic\n")
    assert turn.error is not None
    assert turn.error["evalue"] == "No module named 'lightgbm'"
    assert turn.error["traceback"].endswith(
        "No module named 'lightgbm'\nlightgbm is not installed in this sandbox; it is in the library set `full`\n"
    )
    other = session.run("import nosuchmodule\n").error
    assert other is not None
    assert other["traceback"].endswith("No module named 'nosuchmodule'\n")
