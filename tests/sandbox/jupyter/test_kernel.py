import msgspec
import pytest

from app.sandbox.jupyter import kernel
from app.sandbox.jupyter.kernel import KernelMessage, boot_code


def test_each_module_is_sent_after_those_it_imports() -> None:
    sent: set[str] = set()
    for name, source in kernel._sources():
        assert set(kernel._imports(source)) <= sent
        sent.add(name)
    assert name == "sandbox_image.kernel"


def test_the_cell_that_boots_is_one_line_of_python() -> None:
    code = boot_code("/tmp/it's here", ["a\n%magic"])
    assert "\n" not in code
    compile(code, "<cell>", "exec")


def test_a_message_is_read_whatever_else_it_holds() -> None:
    text = """{"header": {"msg_id": "1", "msg_type": "status", "date": "now"}, "parent_header": {}, "metadata": {},
        "content": {"execution_state": "idle"}, "buffers": [], "channel": "iopub"}"""
    message = msgspec.json.decode(text, type=KernelMessage)
    assert (message.type, message.parent, message.channel) == ("status", "", "iopub")


@pytest.mark.parametrize("text", ['{"header": {}}', '{"header": {"msg_type": 1}}', "[]", '{"content": []}'])
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=KernelMessage)
