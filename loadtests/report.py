"""A report: JSON and Markdown in a folder, and the same Markdown as a section of a published document."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from loadtests.provenance import as_markdown, provenance


@dataclass(frozen=True, kw_only=True)
class Report:
    """``data`` is what the tables were made of; ``plots`` are files in the folder."""

    name: str
    title: str
    body: str
    data: Mapping[str, Any]
    plots: Sequence[Path] = ()
    remarks: Sequence[str] = field(default_factory=list)


def write(report: Report, folder: Path, publish: Path | None) -> Path:
    """``report.json`` and ``report.md`` in the folder; ``publish`` is a document whose section of this name is
    replaced, or added. Returns the Markdown file."""
    folder.mkdir(parents=True, exist_ok=True)
    told = provenance()
    data = {"provenance": told, **report.data, "remarks": report.remarks}
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(data), indent=1) + b"\n")
    remarks = "".join(f"- {remark.splitlines()[0]}\n" for remark in report.remarks)
    text = f"## {report.title}\n\n{as_markdown(told)}\n{report.body}"
    text += f"\nNot measured:\n\n{remarks}" if remarks else ""
    markdown = folder / "report.md"
    markdown.write_text(text + _pictures(report.plots, Path()))
    if publish is not None:
        _publish(report, text, publish)
    return markdown


def with_section(document: str, name: str, text: str) -> str:
    """The document with its section ``name`` replaced, or added at the end."""
    section = f"<!-- bench {name} -->\n{text}<!-- end {name} -->\n"
    pattern = re.compile(rf"<!-- bench {re.escape(name)} -->\n.*?<!-- end {re.escape(name)} -->\n", re.DOTALL)
    if pattern.search(document):
        return pattern.sub(lambda _: section, document)
    return f"{document}\n{section}" if document else section


def _publish(report: Report, text: str, document: Path) -> None:
    pictures = document.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    copies = [Path(shutil.copy(plot, pictures / f"{report.name}-{plot.name}")) for plot in report.plots]
    text += _pictures([Path(pictures.name, copy.name) for copy in copies], Path(pictures.name))
    before = (
        document.read_text() if document.exists() else "# Evaluation\n\nWritten by `eager bench`, section by section.\n"
    )
    document.write_text(with_section(before, report.name, text))


def _pictures(plots: Sequence[Path], folder: Path) -> str:
    return "".join(f"\n![{plot.stem}]({(folder / plot.name).as_posix()})\n" for plot in plots)
