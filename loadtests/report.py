"""A report: JSON and Markdown in a folder, and the same Markdown as a section of a published document."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from loadtests.provenance import as_markdown, provenance

RESULTS: Final = Path(__file__).with_name("results")
_JSON: Final = "report.json"
_MARKDOWN: Final = "report.md"
_HEAD: Final = "# Evaluation\n\nWritten by `eager bench`, section by section; nothing in it is typed in by hand.\n"


@dataclass(frozen=True, kw_only=True)
class Report:
    """``data`` is what the tables were made of; ``plots`` are files in the folder."""

    name: str
    title: str
    body: str
    data: Mapping[str, Any]
    plots: Sequence[Path] = ()
    remarks: Sequence[str] = field(default_factory=list)


def write(report: Report, folder: Path) -> Path:
    """``report.json`` and ``report.md`` in the folder. Returns the Markdown file."""
    folder.mkdir(parents=True, exist_ok=True)
    told = provenance()
    data = {"provenance": told, **report.data, "remarks": report.remarks}
    (folder / _JSON).write_bytes(msgspec.json.format(msgspec.json.encode(data), indent=1) + b"\n")
    remarks = "".join(f"- {remark.splitlines()[0]}\n" for remark in report.remarks)
    text = f"## {report.title}\n\n{as_markdown(told)}\n{report.body}"
    text += f"\nNot measured:\n\n{remarks}" if remarks else ""
    text += "".join(f"\n![{plot.stem}]({plot.name})\n" for plot in report.plots)
    markdown = folder / _MARKDOWN
    markdown.write_text(text)
    return markdown


def publish(name: str, folder: Path, document: Path) -> None:
    """The report in the folder becomes the section ``name`` of the document, its pictures lie beside it."""
    text = (folder / _MARKDOWN).read_text()
    pictures = document.with_suffix("")
    for plot in sorted(folder.glob("*.png")):
        if f"]({plot.name})" in text:
            pictures.mkdir(parents=True, exist_ok=True)
            copy = shutil.copy(plot, pictures / f"{name}-{plot.name}")
            text = text.replace(f"]({plot.name})", f"]({pictures.name}/{Path(copy).name})")
    document.parent.mkdir(parents=True, exist_ok=True)
    before = document.read_text() if document.exists() else _HEAD
    document.write_text(with_section(before, name, text))


def read(folder: Path) -> dict[str, Any] | None:
    """What ``write`` wrote as JSON; None if there is no report."""
    try:
        data: dict[str, Any] = msgspec.json.decode((folder / _JSON).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return data


def commit_of(folder: Path) -> str | None:
    """The commit that the report in the folder is of."""
    data = read(folder)
    return str(data["provenance"]["commit"]) if data else None


def with_section(document: str, name: str, text: str) -> str:
    """The document with its section ``name`` replaced, or added at the end."""
    section = f"<!-- bench {name} -->\n{text}<!-- end {name} -->\n"
    pattern = re.compile(rf"<!-- bench {re.escape(name)} -->\n.*?<!-- end {re.escape(name)} -->\n", re.DOTALL)
    if pattern.search(document):
        return pattern.sub(lambda _: section, document)
    return f"{document}\n{section}" if document else section
