"""OpenAI's SDK against the running gateway: Responses, containers and files, with real sandboxes."""

from __future__ import annotations

import openai

TOOLS = [{"type": "code_interpreter", "container": {"type": "auto"}}]
OUTPUTS = "code_interpreter_call.outputs"


def sdk(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)


def prompt(code: str) -> str:
    return f"Run this.\n```python\n{code}```\n"


def test_the_stream_helper_reads_a_response_with_code_in_it(gateway_url: str) -> None:
    code = "for n in range(3):\n    print(n)\nx = 6 * 7\nx\n"
    with sdk(gateway_url).responses.stream(
        model="replay", input=prompt(code), tools=TOOLS, include=[OUTPUTS]
    ) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    (call,) = [item for item in response.output if item.type == "code_interpreter_call"]
    assert call.code == code
    assert [output.to_dict() for output in call.outputs or ()] == [{"type": "logs", "logs": "0\n1\n2\n42"}]
    assert response.output_text.startswith("The tool said: 0\n1\n2\n42")
    assert response.usage is not None
    assert response.usage.total_tokens > 0


def test_variables_and_files_stay_from_answer_to_answer(gateway_url: str) -> None:
    client = sdk(gateway_url)
    link = "[out](sandbox:/mnt/data/out.csv)"
    code = f"x = 41\nopen('out.csv', 'w').write('a,b\\n')\nprint('{link}')\n"
    first = client.responses.create(model="replay", input=prompt(code), tools=TOOLS)
    (annotation,) = [
        annotation
        for item in first.output
        if item.type == "message"
        for part in item.content
        if part.type == "output_text"
        for annotation in part.annotations
    ]
    assert annotation.type == "container_file_citation"
    assert annotation.filename == "out.csv"
    content = client.containers.files.content.retrieve(annotation.file_id, container_id=annotation.container_id)
    assert content.read() == b"a,b\n"
    second = client.responses.create(
        model="replay", input=prompt("print(x + 1)\n"), tools=TOOLS, previous_response_id=first.id
    )
    assert "42" in second.output_text
    client.containers.delete(annotation.container_id)


def test_a_plot_comes_as_a_data_uri(gateway_url: str) -> None:
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\n"
    response = sdk(gateway_url).responses.create(model="replay", input=prompt(code), tools=TOOLS, include=[OUTPUTS])
    (call,) = [item for item in response.output if item.type == "code_interpreter_call"]
    images = [output for output in call.outputs or () if output.type == "image"]
    assert [image.url[:22] for image in images] == ["data:image/png;base64,"]


def test_files_put_into_a_container_are_read_by_code_and_what_it_writes_is_fetched(gateway_url: str) -> None:
    client = sdk(gateway_url)
    container = client.containers.create(name="mine")
    big = bytes(range(256)) * 20_000
    client.containers.files.create(container.id, file=("big.bin", big))
    code = "data = open('/mnt/data/big.bin', 'rb').read()\nopen('back.bin', 'wb').write(data[::-1])\nlen(data)\n"
    response = client.responses.create(
        model="replay",
        input=prompt(code),
        tools=[{"type": "code_interpreter", "container": container.id}],
    )
    assert str(len(big)) in response.output_text
    listed = {file.path: file for file in client.containers.files.list(container.id)}
    assert listed.keys() == {"/mnt/data/big.bin", "/mnt/data/back.bin"}
    back = listed["/mnt/data/back.bin"]
    assert (back.source, back.bytes) == ("assistant", len(big))
    content = client.containers.files.content.retrieve(back.id, container_id=container.id)
    assert content.read() == big[::-1]
    client.containers.delete(container.id)
